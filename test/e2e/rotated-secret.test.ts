import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { chat, send } from '../support/client.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { configText, Site, startChild, writeConfig } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: a rotated credential is used without a restart, and without a change of governance.yaml. */

t.test('a rotated credential_file is taken without a restart', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const folder = t.testdir({ secret: 'sk-old-0123456789' })
  const text = configText({ upstream: upstream.url })
  const site = new Site(folder, text)
  writeConfig(
    site.file,
    text.replace(`credential: '\${UPSTREAM_KEY}'`, `credential_file: ${join(folder, 'secret')}`),
  )
  site.key = await site.createKey()
  const child = await startChild(t, site)
  const sentKey = async () => {
    const { status } = await send(child.url, { key: site.key, body: chat('hi') })
    t.equal(status, 200)
    return upstream.last?.headers.authorization
  }
  t.equal(await sentKey(), 'Bearer sk-old-0123456789')
  writeFileSync(join(folder, 'secret'), 'sk-new-0123456789\n')
  await until('the new key', async () => (await sentKey()) === 'Bearer sk-new-0123456789')

  writeFileSync(join(folder, 'secret'), '')
  await until('its refusal', () => child.stderr.includes('Configuration not reloaded'))
  t.equal(await sentKey(), 'Bearer sk-new-0123456789', 'the last good one stays')
})
