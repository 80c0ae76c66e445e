import t from 'tap'

import { fetchKeySet } from '../../src/auth/issuer-fetch.ts'
import { readKeySet } from '../../src/auth/key-set.ts'
import { isPrivateAddress } from '../../src/auth/private-address.ts'
import type { IssuerKeysConfig } from '../../src/config/snapshot.ts'
import { signingKey, TestIssuer } from '../support/issuer.ts'

function configOf({ url, ca }: TestIssuer, more: Partial<IssuerKeysConfig> = {}): IssuerKeysConfig {
  return {
    issuer: url,
    jwks: null,
    discovery: `${url}/.well-known/openid-configuration`,
    ca: { file: '/ca.pem', pem: ca },
    credentialFile: null,
    timeoutMs: 20_000,
    refreshMs: 600_000,
    refetchMs: 10_000,
    maxStaleMs: 86_400_000,
    ...more,
  }
}

const wrongOf = (config: IssuerKeysConfig, signal = new AbortController().signal) =>
  fetchKeySet(config, signal).then(
    () => 'nothing',
    (error: Error) =>
      `${error.name}: ${error.message.replace(/(127\.0\.0\.1|localhost):\d+/, '$1:PORT')}`,
  )

const document = (issuer: string, uri: string) => JSON.stringify({ issuer, jwks_uri: uri })

t.test('what an issuer answers is bounded and leads nowhere', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { url } = issuer
  const big = `{"x":"${'y'.repeat(1_000_000)}"}`
  const cases: [string, number, string, string][] = [
    ['a redirect', 302, '', '127.0.0.1:PORT answered 302'],
    [
      'another issuer',
      200,
      document('https://evil', url),
      'the discovery document names another issuer',
    ],
    ['no address', 200, document(url, ''), 'the discovery document names no jwks_uri'],
    [
      'an inside network',
      200,
      document(url, 'https://10.0.0.1/jwks'),
      'its jwks_uri is in a private network (10.0.0.1): name it as jwks',
    ],
    [
      'one written otherwise',
      200,
      document(url, 'https://0x7f.1/jwks'),
      'its jwks_uri is in a private network (127.0.0.1): name it as jwks',
    ],
    [
      'one in IPv6',
      200,
      document(url, 'https://[::ffff:10.0.0.1]/'),
      'its jwks_uri is in a private network (::ffff:a00:1): name it as jwks',
    ],
    [
      'another port here',
      200,
      document(url, 'https://127.0.0.1:1/jwks'),
      'its jwks_uri is in a private network (127.0.0.1): name it as jwks',
    ],
    [
      'a name that is here',
      200,
      document(url, 'https://localhost:1/jwks'),
      'localhost:PORT cannot be reached: localhost is in a private network',
    ],
    ['no TLS', 200, document(url, 'http://127.0.0.1:1/jwks'), 'its jwks_uri is not https'],
    ['no JSON', 200, '<html>', 'the answer is no JSON'],
    ['a list', 200, '[]', 'the discovery document names another issuer'],
    ['a megabyte', 200, big, '127.0.0.1:PORT answered with more than 262144 bytes'],
  ]
  for (const [what, status, body, wrong] of cases) {
    issuer.override = (_request, response) => {
      response.writeHead(status, { location: `${url}/jwks` }).end(body)
      return true
    }
    t.equal(await wrongOf(configOf(issuer)), `FetchFault: ${wrong}`, what)
  }
  t.equal(issuer.fetches, 0)
})

t.test('a fetch ends when it is late, whatever it waits for', async (t) => {
  const issuer = await TestIssuer.start(t)
  issuer.override = (_request, response) => {
    response.write('{"keys":[')
    return true
  }
  const config = configOf(issuer, { jwks: `${issuer.url}/jwks`, discovery: null })
  t.equal(
    await wrongOf({ ...config, timeoutMs: 50 }, AbortSignal.timeout(50)),
    'FetchFault: no answer within 50 ms',
  )
})

t.test(
  'a certificate of a stranger, or a credential that cannot be read, fetches nothing',
  async (t) => {
    const issuer = await TestIssuer.start(t)
    const stranger = await TestIssuer.start(t)
    const { ca } = stranger
    const reached = /^FetchFault: 127.0.0.1:PORT cannot be reached: [A-Z_]+$/
    t.match(await wrongOf(configOf(issuer, { ca: { file: '', pem: ca } })), reached)
    t.match(await wrongOf(configOf(issuer, { ca: null })), reached)
    const files = t.testdir({ two: 'one\ntwo' })
    t.equal(
      await wrongOf(configOf(issuer, { credentialFile: `${files}/none` })),
      'FetchFault: credential_file cannot be read: ENOENT',
    )
    t.equal(
      await wrongOf(configOf(issuer, { credentialFile: `${files}/two` })),
      'FetchFault: credential_file holds no token',
    )
    t.strictSame(issuer.paths, [])
  },
)

const digest = (...keys: unknown[]) => readKeySet({ keys })?.digest

t.test('readKeySet() takes public keys only, and no weak or slow ones', async (t) => {
  const { jwk } = await signingKey('a')
  const ec = (await signingKey('b', 'ES256')).jwk
  t.type(digest(jwk), 'string')
  t.equal(digest(jwk, { kty: 'oct', k: 'c2VjcmV0' }, { ...jwk, d: 'AQ' }, null, 7), digest(jwk))
  t.not(digest(jwk, ec), digest(jwk))
  t.equal(digest({ ...jwk, n: jwk.n!.slice(0, 171) }), undefined, '1,024 bits')
  t.equal(digest({ ...jwk, e: 'A'.repeat(342) }), undefined, 'an exponent of 2,048 bits')
  t.equal(digest(...Array.from({ length: 101 }, () => jwk)), undefined)
  for (const value of [null, [], 'x', { keys: {} }, { keys: [] }]) t.equal(readKeySet(value), null)
})

t.test('isPrivateAddress() knows inside networks in every notation', async (t) => {
  const inside =
    '10.1.2.3 127.0.0.1 169.254.169.254 172.31.0.1 192.168.0.1 100.64.0.1 0.0.0.0 224.0.0.1 ::1 :: fd00::1 fe80::1 ::ffff:10.0.0.1 64:ff9b::a00:1 no-address'
  const outside = '8.8.8.8 172.32.0.1 2606:4700::1 ::ffff:8.8.8.8'
  for (const address of inside.split(' ')) t.ok(isPrivateAddress(address), address)
  for (const address of outside.split(' ')) t.notOk(isPrivateAddress(address), address)
})
