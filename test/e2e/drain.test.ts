import t from 'tap'

import { chat, open, send } from '../support/client.ts'
import { FakeUpstream, HandStream, chatEvent, DONE } from '../support/fake-upstream.ts'
import { configText, Site, startChild } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: a sidecar that is told to stop lets calls end, takes no new ones, and closes its chain. */

async function streaming(t: Parameters<typeof startChild>[0], timeouts = '{}') {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t, hand.behaviour)
  const site = new Site(t.testdir(), configText({ upstream: upstream.url, timeouts }))
  site.key = await site.createKey()
  const child = await startChild(t, site)
  const { response } = await open(child.url, { key: site.key, body: chat('a', { stream: true }) })
  const heard = { text: '' }
  response.on('data', (chunk: Buffer) => {
    heard.text += chunk.toString()
  })
  hand.write(chatEvent('one'))
  await until('the first event', () => heard.text === chatEvent('one'))
  return { hand, upstream, site, child, response, heard }
}

t.test('SIGTERM lets a stream end, refuses new connections, and exits with 0', async (t) => {
  const { hand, site, child, response, heard } = await streaming(t)
  child.process.kill('SIGTERM')
  await until('the port to be closed', async () => {
    // Denied, so that one that comes before the signal is answered and not left waiting.
    return send(child.url, { key: site.key, body: chat('late', { model: 'gpt-5' }) }).then(
      () => false,
      () => true,
    )
  })
  t.equal(child.process.exitCode, null, 'it waits')
  hand.write(chatEvent('two', 'stop') + DONE)
  hand.end()
  await until('the end', () => response.complete)
  t.equal(heard.text, chatEvent('one') + chatEvent('two', 'stop') + DONE)
  t.equal(await child.exited, 0)
  t.match(child.stderr, 'Stopped')

  const entries = site.entries()
  t.strictSame(
    entries.slice(-2).map(({ kind }) => kind),
    ['writer.close', 'checkpoint'],
  )
  t.match(entries.findLast(({ kind }) => kind === 'outcome')?.body, { outcome: 'complete' })
  const verified = await site.cli('audit', 'verify', '--strict')
  t.equal(verified.code, 0, verified.stdout)
})

t.test('a stream that outlasts the drain is cut with an error frame, and recorded', async (t) => {
  const { site, child, response, heard, upstream } = await streaming(t, '{ drain: 300ms }')
  child.process.kill('SIGTERM')
  await until('the end', () => response.complete || response.destroyed)
  t.match(heard.text.slice(chatEvent('one').length), /^data: \{"error":/)
  t.equal(await child.exited, 0)
  t.ok(upstream.received[0]?.closedEarly)
  t.match(site.entries().findLast(({ kind }) => kind === 'outcome')?.body, {
    outcome: 'incomplete',
    code: 'DRAINING',
  })
  t.equal((await site.cli('audit', 'verify', '--strict')).code, 0)
})
