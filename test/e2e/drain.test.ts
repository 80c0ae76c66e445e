import t from 'tap'

import { chat, open, send } from '../support/client.ts'
import { FakeUpstream, HandStream, chatEvent, DONE } from '../support/fake-upstream.ts'
import { RawConnection } from '../support/raw-http.ts'
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
  const body = JSON.stringify(chat('gpt-5 is denied', { model: 'gpt-5' }))
  const head =
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${site.key}\r\n` +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`
  const begun = await RawConnection.open(child.url)
  begun.send(head)
  const beginning = await RawConnection.open(child.url)
  beginning.send(head.slice(0, 20))
  // Answered, so that what was sent before it has been read.
  await send(child.url, { key: site.key, body: chat('denied', { model: 'gpt-5' }) })
  child.process.kill('SIGTERM')
  await until('the port to be closed', async () => {
    // Denied, so that one that comes before the signal is answered and not left waiting.
    return send(child.url, { key: site.key, body: chat('late', { model: 'gpt-5' }) }).then(
      () => false,
      () => true,
    )
  })
  t.equal(child.process.exitCode, null, 'it waits')
  child.process.kill('SIGTERM')

  begun.send(body)
  t.match(await begun.answer(), { status: 403, headers: { connection: 'close' } })
  beginning.send(head.slice(20) + body)
  t.match(await beginning.answer(), {
    status: 503,
    headers: { 'x-governor-code': 'DRAINING', connection: 'close' },
  })

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
  const waiting = await RawConnection.open(child.url)
  waiting.send(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${site.key}\r\n` +
      'content-type: application/json\r\ncontent-length: 100\r\n\r\n',
  )
  await send(child.url, { key: site.key, body: chat('denied', { model: 'gpt-5' }) })
  child.process.kill('SIGTERM')
  t.match(
    await waiting.answer(),
    { status: 503, headers: { 'x-governor-code': 'DRAINING' } },
    'one whose body is still to come is recorded first and answered',
  )
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
