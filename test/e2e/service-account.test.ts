import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { chat } from '../support/client.ts'
import { signingKey, TestIssuer } from '../support/issuer.ts'
import { configText, InProcess } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: a pod's own token is enough to call with. */

t.test('a ServiceAccount token is a caller; the pod’s own token fetches the keys', async (t) => {
  const issuer = await TestIssuer.start(t)
  const directory = t.testdir({ 'ca.crt': issuer.ca, token: 'own-token-1\n' })
  const jwt = `[{ name: kubernetes, issuer: 'https://kubernetes.default.svc', audience: [governor], jwks: '${issuer.url}/jwks', ca_file: ca.crt, credential_file: token, refetch: 1s, claims: { tenant: /kubernetes.io/namespace, user: /kubernetes.io/serviceaccount/name } }]`
  const site = new InProcess(directory, configText({ jwt }))
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const claims = {
    iss: 'https://kubernetes.default.svc',
    sub: 'system:serviceaccount:shop:checkout',
    'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'checkout', uid: 'u-1' } },
  }
  const answer = await site.send({ key: await issuer.token(claims), body: chat('hi') })
  t.equal(answer.status, 200, answer.text)
  const id = String(answer.headers['x-governor-request-id'])
  t.match((await site.entriesOf(id, 1))[0]!.body, { tenant: 'shop', user: 'checkout' })
  t.strictSame(new Set(issuer.credentials), new Set(['Bearer own-token-1']))
  writeFileSync(join(directory, 'token'), 'own-token-2')
  const next = await signingKey('second')
  issuer.keys = [next]
  const rotated = await issuer.token(claims, next)
  await until('the rotated key', async () => {
    return (await site.send({ key: rotated, body: chat('hi') })).status === 200
  })
  t.equal(issuer.credentials.at(-1), 'Bearer own-token-2', 'the file is read for each fetch')
})
