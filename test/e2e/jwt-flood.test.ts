import t from 'tap'

import { TestIssuer } from '../support/issuer.ts'
import { configText, writeConfig } from '../support/start-governor.ts'
import { sections, startWith } from '../support/start-with-issuer.ts'

/** Goal: callers with good tokens notice neither floods of bad ones nor reloads. */

t.test('a reload takes issuers away and keeps the keys of those that stay', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { site, call } = await startWith(t, issuer)
  const token = await issuer.token()
  t.equal(await call(token), '200 ok')
  writeConfig(site.file, configText(sections(issuer, { claims: '{ tenant: org, user: name }' })))
  await site.governor.reload(site.load())
  t.equal(await call(token), '401 AUTH_TOKEN_INVALID', 'other claims, at once')
  t.equal(await call(await issuer.token({ name: 'Ann' })), '200 ok')
  t.equal(issuer.fetches, 1, 'with the keys known before')
  writeConfig(site.file, configText())
  await site.governor.reload(site.load())
  t.equal(await call(token), '401 AUTH_KEY_INVALID')
})

t.test('forged tokens and wrong keys by the hundred leave other callers alone', async (t) => {
  const issuer = await TestIssuer.start(t)
  const { site, call } = await startWith(t, issuer)
  const token = await issuer.token()
  t.equal(await call(token), '200 ok')
  t.equal(await call(site.key), '200 ok')
  const good = await issuer.token({ n: 1 })
  const cut = good.lastIndexOf('.') + 1
  const forged = Array.from({ length: 300 }, (_, index) => {
    return `${good.slice(0, cut)}${String(index).padStart(4, 'A')}${good.slice(cut + 4)}`
  })
  const keyId = site.key.split('.')[0]!
  const guessed = Array.from(
    { length: 100 },
    (_, index) => `${keyId}.${String(index).padStart(43, 'g')}`,
  )
  const flood = Promise.all([...forged, ...guessed].map(call))
  for (let index = 0; index < 30; index++) {
    t.equal(await call(token), '200 ok')
    t.equal(await call(site.key), '200 ok')
  }
  const codes = new Set(await flood)
  codes.delete('429 AUTH_BUSY')
  t.strictSame(codes, new Set(['401 AUTH_TOKEN_INVALID', '401 AUTH_KEY_INVALID']))
})
