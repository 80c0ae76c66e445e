import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'

import t from 'tap'

import { chat, open, send } from '../support/client.ts'
import { answer, FakeUpstream, HandStream, chatEvent, DONE } from '../support/fake-upstream.ts'
import { RawConnection } from '../support/raw-http.ts'
import {
  configText,
  Site,
  startChild,
  startGovernor,
  writeConfig,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a call keeps the configuration it began with, a broken file changes nothing, a new one takes
 * effect as a whole. Method: a sidecar in a process of its own, with another upstream in the new file.
 */

const SHUT = `
  - id: nobody
    deny: { models: ['*'] }`

t.test('a stream outlives the configuration it began with', async (t) => {
  const hand = new HandStream()
  const first = await FakeUpstream.start(t, hand.behaviour)
  const second = await FakeUpstream.start(t)
  const site = new Site(t.testdir(), configText({ upstream: first.url }))
  site.key = await site.createKey()
  const child = await startChild(t, site)
  const call = () => send(child.url, { key: site.key, body: chat('hi') })
  const { response } = await open(child.url, { key: site.key, body: chat('a', { stream: true }) })
  let read = ''
  response.on('data', (chunk: Buffer) => {
    read += chunk.toString()
  })
  hand.write(chatEvent('one'))
  await until('the first event', () => read === chatEvent('one'))
  first.behaviour = answer({ from: 'the first' })

  const slow = await RawConnection.open(child.url)
  const body = JSON.stringify(chat('slow'))
  slow.send(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${site.key}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 9)}`,
  )
  await until('its head to be read', async () => {
    const { text } = await send(child.adminUrl, { method: 'GET', path: '/metrics' })
    return text.includes('governor_inflight_requests 2')
  })

  writeConfig(site.file, configText({ upstream: second.url }))
  await until(
    'the new upstream',
    async () => {
      await call()
      return second.received.length > 0
    },
    15_000,
  )

  // A second reload must not wait for the stream.
  writeConfig(site.file, configText({ upstream: second.url, policies: SHUT }))
  await until('the new policy', async () => (await call()).status === 403)

  slow.send(body.slice(9))
  const late = await slow.answer()
  t.equal(late.status, 200, 'decided by the policies it began with')
  t.match(late.body, 'the first', 'by the upstream it began with')
  slow.destroy()

  hand.write(chatEvent('two', 'stop') + DONE)
  hand.end()
  await until('the end', () => response.complete)
  t.equal(read, chatEvent('one') + chatEvent('two', 'stop') + DONE)
  t.equal(await child.kill('SIGTERM'), 0)
  const verified = await site.cli('audit', 'verify', '--strict')
  t.equal(verified.code, 0, verified.stdout)
})

t.test('a broken or half-written file keeps the last good one', async (t) => {
  const site = new Site(t.testdir(), configText())
  site.key = await site.createKey()
  const child = await startChild(t, site)
  const call = () => send(child.url, { key: site.key, body: chat('hi') })
  const refusals = () => child.stderr.split('Configuration not reloaded').length - 1
  const good = readFileSync(site.file, 'utf8')
  for (const [index, text] of [
    good.slice(0, good.indexOf('policies:') + 20),
    '',
    good.replace("matches: '(?i)project[- ]zeus'", "matches: '(?<=a)b'"),
    good.replace('limits: []', 'limits: []\nlimts: []'),
    `${good}---\n${good}`,
  ].entries()) {
    writeFileSync(site.file, text)
    await until(`refusal ${index + 1}`, () => refusals() === index + 1)
    t.equal((await call()).status, 200, `after ${JSON.stringify(text.slice(-30))}`)
  }
  t.match(child.stderr, /governance\.yaml:\d+:\d+/, 'with line and column')

  writeConfig(site.file, configText({ policies: SHUT }))
  await until('the new one', async () => (await call()).status === 403)
  const digest = createHash('sha256').update(readFileSync(site.file)).digest('hex')
  const { text } = await send(child.adminUrl, { method: 'GET', path: '/metrics' })
  t.match(text, `governor_config_snapshot_info{digest="${digest.slice(0, 12)}"} 1`)
  t.match(text, 'governor_config_reloads_total{result="refused"} 5')
  t.match(text, 'governor_config_reloads_total{result="ok"} 1')
  const denied = site.entries().findLast(({ kind }) => kind === 'decision')
  t.match(denied?.body, { decision: 'deny', policy: 'nobody', policy_digest: digest })

  writeConfig(site.file, `# back\n${configText()}`)
  child.process.kill('SIGHUP')
  await until('the first policies', async () => (await call()).status === 200)
})

t.test('an echo that no upstream asks any more ends with its last call', async (t) => {
  const site = await startGovernor(t, { upstream: 'echo:?pace=20ms' })
  const [first] = site.governor.world.upstreams
  const { response } = await open(site.url, {
    key: site.key,
    body: chat('one two three four five six seven', { stream: true }),
  })
  const text = new Promise<string>((resolve) => {
    let read = ''
    response.on('data', (chunk: Buffer) => (read += chunk.toString()))
    response.on('end', () => resolve(read))
  })
  const isOpen = async () => {
    const socket = connect(Number(new URL(first!.pool.url).port), '127.0.0.1')
    const opened = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    return opened
  }
  for (const delay of [1, 2, 3]) {
    writeConfig(site.file, configText({ upstream: `echo:?delay=${delay}ms` }))
    await site.governor.reload(site.load())
    t.equal((await site.send({ body: chat('hi') })).status, 200)
  }
  t.match(await text, /seven[^]*\[DONE\]/, 'the call that began with it is answered to its end')
  await until('its listener to be closed', async () => !(await isOpen()))
  writeConfig(site.file, configText({ upstream: 'echo:?pace=20ms' }))
  await site.governor.reload(site.load())
  t.equal((await site.send({ body: chat('hi') })).status, 200, 'wanted again, it is there again')
})
