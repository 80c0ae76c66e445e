import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

import t from 'tap'

import { Authority } from '../support/certificates.ts'
import { chat } from '../support/client.ts'
import { CHAT_ANSWER } from '../support/fake-upstream.ts'
import { configText, InProcess } from '../support/start-governor.ts'

/** Goal: an upstream with a certificate of one's own is trusted by `ca_file`, and by nothing else. */

async function tlsUpstream(t: { teardown(then: () => unknown): void }, authority: Authority) {
  const server = createServer(
    authority.issue({ subject: { CN: 'upstream' }, ips: ['127.0.0.1'] }),
    (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(CHAT_ANSWER))
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('the certificates of ca_file are trusted, and those of a changed file', async (t) => {
  const [ours, theirs] = [new Authority('Ours'), new Authority('Theirs')]
  const upstream = await tlsUpstream(t, ours)
  const folder = t.testdir({ 'ca.pem': theirs.cert })
  const site = new InProcess(folder, configText({ upstream, more: 'ca_file: ca.pem' }))
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const refused = await site.send({ body: chat('hi') })
  t.equal(refused.status, 502)
  t.equal(refused.headers['x-governor-code'], 'UPSTREAM_UNREACHABLE')

  const file = join(folder, 'ca.pem')
  t.strictSame(site.load().secretFiles, [file], 'it is watched')
  writeFileSync(file, theirs.cert + ours.cert)
  await site.governor.reload(site.load())
  t.equal((await site.send({ body: chat('hi') })).status, 200)

  writeFileSync(site.file, configText({ upstream }))
  await site.governor.reload(site.load())
  t.equal((await site.send({ body: chat('hi') })).status, 502, 'nobody else vouches for it')
})
