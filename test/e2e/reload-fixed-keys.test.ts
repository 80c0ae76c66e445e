import t from 'tap'

import { chat, send } from '../support/client.ts'
import { configText, Site, startChild, writeConfig } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: nobody believes that a reload changed what only a start can. Method: every such key, changed in
 * the file of a sidecar that runs.
 */

t.test('a reload names every key that waits for the next start', async (t) => {
  const site = new Site(t.testdir(), configText())
  site.key = await site.createKey()
  const child = await startChild(t, site)
  const changed = configText({
    listen: "{ proxy: '127.0.0.1:4999', admin: '127.0.0.1:0' }",
    store: `'\${STORE_URL:-redis://127.0.0.1:1}'`,
    audit: '{ path: other.db, local_max: 64MiB }',
    timeouts: '{ client_headers: 3s, commit: 3s }',
  })
  writeConfig(site.file, `${changed.replace('path: keys.db', 'path: other-keys.db')}sidecars: 7\n`)
  await until('the reload', () => child.stderr.includes('Configuration reloaded'))
  const said = [...child.stderr.matchAll(/"key":"([^"]+)".*only at the next start/g)]
  const fixed = [
    'listen',
    'auth.keys',
    'limit_store',
    'sidecars',
    'timeouts.client_headers',
    'timeouts.commit',
    'audit.path',
    'audit.local_max',
  ]
  t.strictSame(
    said.map(([, key]) => key),
    fixed,
  )
  t.equal((await send(child.url, { key: site.key, body: chat('hi') })).status, 200)
})
