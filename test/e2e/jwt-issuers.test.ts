import t from 'tap'

import { chat } from '../support/client.ts'
import { signingKey, TestIssuer } from '../support/issuer.ts'
import { startWith } from '../support/start-with-issuer.ts'
import { until } from '../support/until.ts'

/** Goal: keys of an issuer come, change and stay away, and no caller pays for it but one who must. */

t.test('a rotated key is found at once, and one taken back ends its tokens', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { call } = await startWith(t, issuer, { entry: ', refetch: 1s, refresh: 10s' })
  const old = await issuer.token()
  t.equal(await call(old), '200 ok')
  const next = await signingKey('second')
  issuer.keys = [next]
  const fresh = await issuer.token({}, next)
  await until('the new key', async () => (await call(fresh)) === '200 ok')
  t.equal(await call(old), '401 AUTH_TOKEN_INVALID', 'the old one is gone with its key')
})

t.test('unknown key ids fetch at most once in `refetch`', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { call } = await startWith(t, issuer, { entry: ', refetch: 1h' })
  t.equal(await call(await issuer.token()), '200 ok')
  const stranger = await signingKey('first')
  for (let index = 0; index < 20; index++) {
    const token = await issuer.token({}, stranger, { kid: `made-up-${index}` })
    t.equal(await call(token), '401 AUTH_TOKEN_INVALID')
  }
  t.equal(issuer.fetches, 1)
})

t.test('a key that is broken, or written with nulls, takes no other with it', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { jwk } = issuer.keys[0]!
  const broken = { ...jwk, n: 'A'.repeat(400) }
  const keys = [broken, { ...broken, kid: 'other' }, { ...jwk, d: null, key_ops: null, x5u: null }]
  issuer.override = ({ url }, response) => {
    if (url !== '/jwks') return false
    response.end(JSON.stringify({ keys }))
    return true
  }
  const { call } = await startWith(t, issuer)
  t.equal(await call(await issuer.token()), '200 ok')
  t.equal(await call(await issuer.token({}, undefined, { kid: undefined })), '200 ok')
  const late = { exp: 1, aud: 'governor' }
  t.equal(await call(await issuer.token(late)), '401 AUTH_TOKEN_INVALID')
})

t.test('keys that cannot be fetched are a 503, never a 401', async (t) => {
  const issuer = await TestIssuer.start(t)
  issuer.override = (_request, response) => {
    response.writeHead(500).end()
    return true
  }
  const { site, call } = await startWith(t, issuer, { entry: ', refetch: 1s' })
  const token = await issuer.token()
  t.equal(await call(token), '503 AUTH_ISSUER_UNAVAILABLE')
  t.equal((await site.send({ body: chat('hi') })).status, 200, 'Governor keys go on')
  issuer.override = () => false
  await until('keys', async () => (await call(token)) === '200 ok')
  t.ok((await site.metric('governor_issuer_fetches_total', 'issuer="sso"', 'failed')) >= 1)
  t.match(site.logLines.join(''), /Cannot fetch the keys of the issuer/)
})

t.test('an issuer that hangs while calls go on stalls none of them', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { site, call } = await startWith(t, issuer, { entry: ', refetch: 1s, timeout: 60s' })
  const token = await issuer.token()
  t.equal(await call(token), '200 ok')
  issuer.override = () => true
  const unknown = await issuer.token({}, await signingKey('never-seen'))
  await until('a fetch that hangs', async () => {
    void call(unknown).catch(() => {})
    return issuer.paths.length > 2
  })
  for (let index = 0; index < 20; index++) {
    t.equal(await call(await issuer.token({ n: index })), '200 ok', 'with the keys at hand')
    t.equal((await site.send({ body: chat('hi') })).status, 200)
  }
})
