import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

import t from 'tap'

import { Authority } from '../support/certificates.ts'
import { chat, send } from '../support/client.ts'
import { ConnectProxy } from '../support/connect-proxy.ts'
import { CHAT_ANSWER } from '../support/fake-upstream.ts'
import { ChildGovernor, configText, InProcess } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

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

t.test('what the environment says of certificates and proxies changes nothing', async (t) => {
  const upstream = await tlsUpstream(t, new Authority('Nobody knows'))
  const proxy = await ConnectProxy.start(t)
  const audit = `{ path: audit.db, ship: { http: { url: '${upstream}' } }, checkpoints: { url: '${upstream}' } }`
  const site = new InProcess(t.testdir(), configText({ upstream, audit }))
  const key = await site.createKey()
  const child = new ChildGovernor(site.file, [], {
    NODE_TLS_REJECT_UNAUTHORIZED: '0',
    NODE_USE_ENV_PROXY: '1',
    HTTP_PROXY: proxy.url,
    HTTPS_PROXY: proxy.url,
  })
  t.teardown(() => child.kill('SIGKILL'))
  await child.ready()
  t.match(
    child.stderr,
    /^NODE_TLS_REJECT_UNAUTHORIZED=0 is ignored: certificates are always checked/,
  )
  const refused = await send(child.url, { key, body: chat('hi') })
  t.equal(refused.status, 502)
  t.equal(refused.headers['x-governor-code'], 'UPSTREAM_UNREACHABLE')
  await until('shipping to be refused, too', () => child.stderr.includes('cannot be shipped'))
  t.match(child.stderr, /cannot be shipped|certificate/)
  t.strictSame([proxy.asked, proxy.others], [[], []])
  t.notMatch(
    child.stderr,
    /Setting the NODE_TLS_REJECT_UNAUTHORIZED/,
    'what Node says when it heeds it',
  )
})
