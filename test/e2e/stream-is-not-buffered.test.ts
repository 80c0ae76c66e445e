import t from 'tap'

import { chat, open } from '../support/client.ts'
import { CHAT_EVENTS, DONE, FakeUpstream, HandStream, chatEvent } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a client reads what the model said as soon as it said it. Method: an upstream that writes
 * each event only after the client has read the one before.
 */

t.test('each event reaches the client before the next one is written', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t, hand.behaviour)
  const site = await startGovernor(t, { upstream: upstream.url })
  const { response } = await open(site.url, { key: site.key, body: chat('hi', { stream: true }) })
  t.equal(response.statusCode, 200, 'the headers come before the first event')
  t.equal(response.headers['content-type'], 'text/event-stream')
  t.equal(response.headers['x-governor-decision'], 'allow')

  let read = ''
  response.on('data', (chunk: Buffer) => {
    read += chunk.toString()
  })
  let written = ''
  for (const event of CHAT_EVENTS) {
    hand.write(event)
    written += event
    await until(`the client to read ${event}`, () => read === written)
  }
  hand.end()
  await until('the end', () => response.complete)
  t.equal(read, CHAT_EVENTS.join(''), 'byte for byte')
})

t.test('an event split anywhere passes byte for byte, with usage asked for', async (t) => {
  const usage = { id: 'c', choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } }
  const events = [chatEvent('Hé'), chatEvent('llo', 'stop')]
  const whole = Buffer.from([...events, `data: ${JSON.stringify(usage)}\n\n`, DONE].join(''))
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, usage: 'ask' })
  for (let at = 1; at < whole.length; at += 17) {
    upstream.behaviour = async (_received, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(whole.subarray(0, at))
      await new Promise(setImmediate)
      response.end(whole.subarray(at))
    }
    const answer = await site.send({ body: chat('hi', { stream: true }) })
    t.equal(answer.text, [...events, DONE].join(''), `split at ${at}`)
    t.equal(answer.headers['x-governor-changed'], 'usage')
  }
  t.match(upstream.last?.body.toString(), '"include_usage":true')
  const outcome = site.entries().findLast(({ kind }) => kind === 'outcome')
  t.match(outcome?.body, { outcome: 'complete', 'gen_ai.usage.output_tokens': 2 })
})
