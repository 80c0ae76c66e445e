import { createHmac, createPublicKey, KeyObject, sign } from 'node:crypto'

import t from 'tap'

import { chat, send } from '../support/client.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { type SigningKey, signingKey, TestIssuer } from '../support/issuer.ts'
import { startWith } from '../support/start-with-issuer.ts'

/** Goal: the token of a real issuer over HTTPS is as good as a Governor key, and a wrong one is not. */

const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

t.test('a token is a caller: tenant, user, roles and labels by its claims', async (t) => {
  const issuer = await TestIssuer.start(t)
  const upstream = await FakeUpstream.start(t)
  const { site } = await startWith(t, issuer, {
    upstream: upstream.url,
    policies: `
  - id: research
    allow: { tenants: [acme], users: [ann], roles: [research], labels: { team: ml }, keys: [sso], when: 'caller.via == "jwt"' }`,
  })
  const token = await issuer.token({ groups: ['research', 'staff'], dept: 'ml' })
  const first = await site.send({ key: token, body: chat('hi') })
  t.equal(first.status, 200, first.text)
  const asApiKey = await send(site.url, { headers: { 'x-api-key': token }, body: chat('hi') })
  t.equal(asApiKey.status, 200)
  const other = await site.send({ key: await issuer.token({ groups: 'staff' }), body: chat('hi') })
  t.equal(other.headers['x-governor-code'], 'POLICY_DENIED')
  const [decision] = await site.entriesOf(String(first.headers['x-governor-request-id']), 1)
  const { tenant, user, roles, labels, via, key_name: name, key_id: id } = decision!.body
  t.match(id, /^jwt:[0-9a-f]{32}$/)
  t.strictSame(
    { tenant, user, roles, labels, via, name },
    {
      tenant: 'acme',
      user: 'ann',
      roles: ['research', 'staff'],
      labels: { team: 'ml' },
      via: 'jwt',
      name: 'sso',
    },
  )
  t.notOk(upstream.everything.includes(token), 'the upstream never sees it')
  const misses = ['cache="verified_tokens"', 'result="miss"']
  t.equal(await site.metric('governor_cache_requests_total', ...misses), 2)
  t.equal(await site.metric('governor_cache_requests_total', 'verified_tokens', 'hit'), 1)
})

t.test('a token that is wrong in any way is refused', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { site, call } = await startWith(t, issuer)
  const nowS = Math.floor(Date.now() / 1000)
  const stranger = await signingKey('first')
  const [header, payload, signature] = (await issuer.token()).split('.') as [string, string, string]
  const publicPem = createPublicKey({ key: issuer.keys[0]!.jwk, format: 'jwk' })
    .export({ type: 'spki', format: 'pem' })
    .toString()
  const confused = `${encoded({ alg: 'HS256', kid: 'first' })}.${payload}`
  const mac = createHmac('sha256', publicPem).update(confused).digest('base64url')
  const refused: Record<string, string> = {
    'of a key with the same id': await issuer.token({}, stranger),
    'that says it has no signature': `${encoded({ alg: 'none' })}.${payload}.x`,
    'signed with the public key as a secret': `${confused}.${mac}`,
    'with a changed claim': `${header}.${encoded({ iss: issuer.url, aud: 'governor', sub: 'eve', org: 'acme', exp: nowS + 300 })}.${signature}`,
    'that brings its own key': await issuer.token({}, stranger, { jwk: stranger.jwk }),
    'that names where its key is': await issuer.token({}, stranger, { jku: `${issuer.url}/evil` }),
    'that names where its certificate is': await issuer.token({}, stranger, {
      x5u: `${issuer.url}/evil`,
    }),
    'that brings its own certificate': await issuer.token({}, stranger, { x5c: ['MIIB'] }),
    'with a key id that is a device': await issuer.token({}, stranger, { kid: '/dev/null' }),
    'with a key id that is a query': await issuer.token({}, stranger, { kid: "first' OR 1=1 --" }),
    'with no signature at all': `${header}.${payload}.A`,
    'that says NONE': `${encoded({ alg: 'NONE', kid: 'first' })}.${payload}.${signature}`,
    'with a key id that is a path': await issuer.token({}, stranger, { kid: '../../etc/passwd' }),
    'of an algorithm that is not pinned': await issuer.token(
      {},
      await signingKey('first', 'ES256'),
    ),
    'for another audience': await issuer.token({ aud: 'payroll' }),
    'without an audience': await issuer.token({ aud: undefined }),
    'that has expired': await issuer.token({ exp: nowS - 90 }),
    'without an end': await issuer.token({ exp: undefined }),
    'that is not valid yet': await issuer.token({ nbf: nowS + 90 }),
    'without a tenant': await issuer.token({ org: undefined }),
    'with a tenant that is no text': await issuer.token({ org: ['acme'] }),
    'with a tenant that breaks the line': await issuer.token({ org: 'acme\nx' }),
    'with a tenant that holds a NUL': await issuer.token({ org: 'ac\0me' }),
    'with a tenant that is half a character': await issuer.token({ org: 'acme\ud800' }),
    'with a role that holds a control character': await issuer.token({ groups: ['dev\x1b'] }),
    'without a user': await issuer.token({ sub: undefined }),
    'with a role that is no text': await issuer.token({ groups: [{ admin: true }] }),
    'with a critical header': `${encoded({ alg: 'RS256', kid: 'first', crit: ['exp'] })}.${payload}.${signature}`,
  }
  for (const [what, token] of Object.entries(refused)) {
    t.equal(await call(token), '401 AUTH_TOKEN_INVALID', what)
  }
  const { json, headers } = await site.send({ key: refused['that has expired']!, body: chat('hi') })
  t.equal(json.error!.message, 'The token is not valid: it has expired')
  t.equal(headers['www-authenticate'], 'Bearer error="invalid_token"')
  t.equal(headers['x-should-retry'], 'false')
  t.equal(await call(await issuer.token({ exp: nowS - 20 })), '200 ok', 'within the skew')
  t.equal(await call(await issuer.token({ nbf: nowS + 20 })), '200 ok', 'within the skew')
  t.equal(await call(`${header}.${payload}.${signature}`), '200 ok', 'the good one is good')
  const large = await issuer.token({
    groups: Array.from({ length: 200 }, (_, i) => `group-${i}-${'x'.repeat(20)}`),
  })
  t.ok(large.length > 7000)
  t.equal(await call(large), '200 ok', 'a large one')
  const huge = await issuer.token({ pad: 'x'.repeat(10_000) })
  t.equal(await call(huge), '401 AUTH_TOKEN_INVALID', 'too large a one')
  const { json: said } = await site.send({ key: huge, body: chat('hi') })
  t.match(said.error!.message, 'The token is not valid: it is longer than 12288 characters')
  t.notOk(issuer.paths.includes('/evil'), 'nothing in a token is fetched')
  t.equal(issuer.paths.filter((path) => path !== '/jwks')[0], '/.well-known/openid-configuration')
})

t.test(
  'a Governor key wins, a wrong token loses even in a pod, and others are dropped',
  async (t) => {
    const issuer = await TestIssuer.start(t)
    const { site, call } = await startWith(t, issuer, { pod: '{ tenant: pods }' })
    const token = await issuer.token()
    const stranger = await issuer.token({ iss: 'https://elsewhere.example' })
    const bad = await issuer.token({ aud: 'payroll' })
    const via = async (headers: Record<string, string>) => {
      const answer = await send(site.url, { headers, body: chat('hi') })
      if (answer.status !== 200) return answer.headers['x-governor-code']
      const id = String(answer.headers['x-governor-request-id'])
      return (await site.entriesOf(id, 1))[0]!.body['via']
    }
    t.equal(await via({ authorization: `Bearer ${token}` }), 'jwt')
    t.equal(await via({ authorization: `Bearer ${token}`, 'x-api-key': site.key }), 'key')
    t.equal(await via({ authorization: `Bearer ${site.key}`, 'x-api-key': bad }), 'key')
    t.equal(await via({ authorization: `Bearer ${bad}` }), 'AUTH_TOKEN_INVALID')
    const mangled: Record<string, string> = {
      'whose signature was cut off': token.replace(/[^.]*$/, ''),
      'that is padded': `${token}==`,
      'that has another byte in front': `!${token}`,
    }
    for (const [what, wrong] of Object.entries(mangled)) {
      t.equal(await via({ authorization: `Bearer ${wrong}` }), 'AUTH_TOKEN_INVALID', what)
    }
    t.equal(await via({ authorization: `Bearer ${stranger}` }), 'pod', 'of an unknown issuer')
    t.equal(await via({ authorization: 'Bearer sk-other' }), 'pod')
    t.equal(await call(`${site.key.slice(0, -3)}abc`), '401 AUTH_KEY_INVALID')
    const spaced = signed(issuer.keys[0]!, '{ "alg": "RS256",\n "kid": "first" }', token)
    t.equal(await via({ authorization: `Bearer ${spaced}` }), 'jwt', 'JSON in any form')
  },
)

/** The claims of `token` under another header, signed with RS256. */
function signed({ privateKey }: SigningKey, header: string, token: string): string {
  const text = `${Buffer.from(header).toString('base64url')}.${token.split('.')[1]!}`
  return `${text}.${sign('sha256', Buffer.from(text), KeyObject.from(privateKey)).toString('base64url')}`
}

t.test('a token of an unknown issuer is no key where there is no pod', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { call } = await startWith(t, issuer)
  const stranger = await issuer.token({ iss: 'https://elsewhere.example' })
  t.equal(await call(stranger), '401 AUTH_KEY_INVALID')
  t.equal(await call('eyJ.eyJ.eyJ'), '401 AUTH_KEY_INVALID')
})
