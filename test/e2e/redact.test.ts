import { hash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import t from 'tap'

import { chat } from '../support/client.ts'
import { answer, FakeUpstream, stream, CHAT_ANSWER, CHAT_EVENTS } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: what policies mask never leaves, and everything else leaves as it came. */

const POLICIES = `
  - { id: open, allow: {} }
  - { id: pii, redact: { input: { detect: [email, us_ssn, credit_card] } } }
  - { id: names, redact: { input: { words: [zeus, 'old  falcon'], matches: 'E-\\d{6}' } } }
  - { id: someday, mode: shadow, redact: { input: { words: [hermes] } } }`

const MAIL = 'jane.doe@example.com'

/** One Governor for all tests that do not stop it or need another. */
const upstream = await FakeUpstream.start(t)
const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })

t.test('a value is masked where it stands, and nothing else is touched', async (t) => {
  const rows: readonly (readonly [note: string, sent: string, forwarded: string])[] = [
    [
      'numbered by first appearance, the same value alike',
      `{ "model": "gpt-4o" ,"messages":[{"role":"user","content":"${MAIL}, bob@b.org; ${MAIL}"}], "seed":1.0e2}`,
      '{ "model": "gpt-4o" ,"messages":[{"role":"user","content":"[EMAIL_1], [EMAIL_2]; [EMAIL_1]"}], "seed":1.0e2}',
    ],
    [
      'written with escapes, among surrogate pairs and wide characters',
      String.raw`{"model":"gpt-4o","messages":[{"role":"user","content":"\ud83d\ude00 é😀 jane\u002edoe\u0040example.com\n\u00e9"}]}`,
      String.raw`{"model":"gpt-4o","messages":[{"role":"user","content":"\ud83d\ude00 é😀 [EMAIL_1]\n\u00e9"}]}`,
    ],
    [
      'with invisible characters inside, which go with it',
      '{"model":"gpt-4o","messages":[{"role":"user","content":"a ze\u200B\u00ADus b"}]}',
      '{"model":"gpt-4o","messages":[{"role":"user","content":"a [WORD_1] b"}]}',
    ],
    [
      'of two words on two lines, with what stands between them',
      String.raw`{"model":"gpt-4o","messages":[{"role":"user","content":"An Old\r\n  falcon flew. Old\u2028Falcons stay"}]}`,
      String.raw`{"model":"gpt-4o","messages":[{"role":"user","content":"An [WORD_1] flew. Old\u2028Falcons stay"}]}`,
    ],
    [
      'in digits of another script',
      '{"model":"gpt-4o","messages":[{"role":"user","content":"SSN: ５１２－４５－６７８９ ok"}]}',
      '{"model":"gpt-4o","messages":[{"role":"user","content":"SSN: [US_SSN_1] ok"}]}',
    ],
    [
      'in the arguments of a tool call, in every spelling, which stay JSON',
      String.raw`{"model":"gpt-4o","messages":[{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"to\":\"x\\njane.doe\\u0040example.com\",\"card\":4111111111111111,\"n\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"E-123456"}]}`,
      String.raw`{"model":"gpt-4o","messages":[{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"to\":\"x\\n[EMAIL_1]\",\"card\":\"[CREDIT_CARD_1]\",\"n\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"[MATCH_1]"}]}`,
    ],
    [
      'in parts, tools and metadata',
      `{"model":"gpt-4o","metadata":{"who":"${MAIL}"},"messages":[{"role":"user","content":[{"type":"text","text":"from ${MAIL} to"},{"type":"text","text":"b@b.org"}]}],"tools":[{"type":"function","function":{"name":"f","description":"mails ${MAIL}"}}]}`,
      '{"model":"gpt-4o","metadata":{"who":"[EMAIL_1]"},"messages":[{"role":"user","content":[{"type":"text","text":"from [EMAIL_1] to"},{"type":"text","text":"[EMAIL_2]"}]}],"tools":[{"type":"function","function":{"name":"f","description":"mails [EMAIL_1]"}}]}',
    ],
    [
      'where a word and an address overlap, as the longer of the two',
      '{"model":"gpt-4o","messages":[{"role":"user","content":"zeus@olymp.org and Zeus"}]}',
      '{"model":"gpt-4o","messages":[{"role":"user","content":"[EMAIL_1] and [WORD_1]"}]}',
    ],
    [
      'what already looks like a placeholder is a text as any other',
      `{"model":"gpt-4o","messages":[{"role":"assistant","content":"[EMAIL_1] [EMAIL_9]"},{"role":"user","content":"${MAIL}"}]}`,
      '{"model":"gpt-4o","messages":[{"role":"assistant","content":"[EMAIL_1] [EMAIL_9]"},{"role":"user","content":"[EMAIL_1]"}]}',
    ],
  ]
  for (const [note, sent, forwarded] of rows) {
    const answer = await site.send({ body: sent })
    t.equal(answer.status, 200, `${note}: ${answer.text}`)
    t.equal(answer.headers['x-governor-changed'], 'redacted', note)
    t.equal(upstream.last?.body.toString(), forwarded, note)
    const [decision] = await site.entriesOf(String(answer.headers['x-governor-request-id']), 2)
    t.strictSame(decision?.body['changed'], ['redacted'])
    t.strictSame(decision?.body['forwarded'], { sha256: hash('sha256', forwarded) })
  }
})

t.test('what is not masked passes byte for byte', async (t) => {
  const sent = '{"model":"gpt-4o" , "messages":[{"role":"user","content":"Hermes, \\u0041"}]}'
  const answer = await site.send({ body: sent })
  t.equal(answer.status, 200)
  t.equal(answer.headers['x-governor-changed'], undefined)
  t.equal(upstream.last?.body.toString(), sent)
  const [decision] = await site.entriesOf(String(answer.headers['x-governor-request-id']), 2)
  t.strictSame(
    decision?.body['policies'],
    [
      { id: 'open', mode: 'enforce', result: 'allowed', why: 'every call' },
      { id: 'someday', mode: 'shadow', result: 'redacted', why: 'input.words' },
    ],
    'shadow is recorded and changes nothing',
  )
})

t.test('what cannot be masked is refused, and nothing is forwarded', async (t) => {
  const before = upstream.received.length
  const rows: readonly (readonly [why: string, body: object])[] = [
    ['it is in an object key', chat('hello', { metadata: { [MAIL]: 'x' } })],
    [
      'it is spread over several texts',
      {
        model: 'gpt-4o',
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'to ze' },
              { type: 'text', text: 'us' },
            ],
          },
        ],
      },
    ],
    [
      'it is spread over several texts',
      {
        model: 'gpt-4o',
        messages: [
          { role: 'user', content: '4111 1111 ' },
          { role: 'user', content: `1111 1111 ${MAIL}` },
        ],
      },
    ],
    [
      'it is in a signed or encrypted part',
      {
        model: 'gpt-4o',
        messages: [
          {
            role: 'assistant',
            content: 'x',
            reasoning_details: [{ type: 'text', text: `mail ${MAIL}`, signature: 'c2ln' }],
          },
        ],
      },
    ],
    [
      'it is in a field that has to stay',
      chat('hello', { tools: [{ type: 'function', function: { name: 'zeus' } }] }),
    ],
  ]
  for (const [why, body] of rows) {
    const answer = await site.send({ body })
    t.equal(answer.status, 403, `${why}: ${answer.text}`)
    t.match(answer.json.error?.message, why)
    t.notMatch(answer.text, MAIL)
    t.equal(answer.headers['x-governor-changed'], undefined)
    const id = String(answer.headers['x-governor-request-id'])
    const [decision] = await site.entriesOf(id, 1)
    t.equal(decision?.body.policy, answer.headers['x-governor-policy'])
    const policies = decision?.body['policies'] as readonly { id: string; why: string }[]
    t.equal(
      policies.find(({ id: each }) => each === decision?.body.policy)?.why,
      `cannot be masked: ${why}`,
    )
  }
  t.equal(upstream.received.length, before)
})

t.test('streamed, compressed and asked for usage, every change is named', async (t) => {
  const upstream = await FakeUpstream.start(t, stream(CHAT_EVENTS))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    policies: POLICIES,
    usage: 'ask',
  })
  const sent = JSON.stringify(chat(`mail ${MAIL}`, { stream: true }))
  const answer = await site.send({
    body: gzipSync(sent),
    headers: { 'content-encoding': 'gzip' },
  })
  t.equal(answer.status, 200, answer.text)
  t.equal(answer.headers['x-governor-changed'], 'decoded, redacted, usage')
  t.equal(
    upstream.last?.body.toString(),
    `{"stream_options":{"include_usage":true},${sent.slice(1).replace(MAIL, '[EMAIL_1]')}`,
  )
  t.equal(upstream.last?.headers['content-length'], String(upstream.last?.body.length))
})

t.test('a conversation that grows keeps its beginning', async (t) => {
  const said = [`I am ${MAIL}`, 'Ask bob@b.org', `Or zeus, not ${MAIL}`, 'a@a.net!']
  let before = ''
  for (let count = 1; count <= said.length; count++) {
    const messages = said.slice(0, count).map((content, index) => {
      return { role: index % 2 === 0 ? 'user' : 'assistant', content }
    })
    await site.send({ body: { model: 'gpt-4o', messages } })
    const body = upstream.last!.body.toString()
    t.ok(body.startsWith(before), body)
    before = body.slice(0, -2)
  }
  t.match(before, 'not [EMAIL_1]')
})

t.test('what was masked is in no log, no entry, no metric and no answer', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
  const answers = [
    await site.send({ body: chat(`mail ${MAIL}`) }),
    await site.send({ body: chat('x', { metadata: { [MAIL]: MAIL } }) }),
  ]
  const metrics = (await site.admin('/metrics')).text
  await site.governor.stop()
  const written = readdirSync(site.directory).map((name) =>
    readFileSync(join(site.directory, name), 'latin1'),
  )
  const everything = [
    ...answers.map(({ text, rawHeaders }) => text + rawHeaders.join()),
    metrics,
    ...site.logLines,
    ...written,
    upstream.everything,
  ]
  t.strictSame(
    everything.filter((text) => text.includes('jane.doe')),
    [],
  )
})

t.test('a large body is masked to its end', async (t) => {
  const filler = 'lorem ipsum dolor sit amet é '.repeat(8000)
  const body = JSON.stringify(chat(`${filler}${MAIL} ${filler}E-123456 zeus ${filler}${MAIL}`))
  const answer = await site.send({ body })
  t.equal(answer.status, 200, answer.text)
  const masked = body
    .replaceAll(MAIL, '[EMAIL_1]')
    .replace('E-123456', '[MATCH_1]')
    .replace('zeus', '[WORD_1]')
  t.ok(upstream.last?.body.toString() === masked)
})

t.test('placeholders of an answer go on where those of the request end', async (t) => {
  const message = {
    role: 'assistant',
    content: 'Not [EMAIL_1] but bob@b.org, jane.doe@example.com',
  }
  const choices = [{ index: 0, finish_reason: 'stop', message }]
  const upstream = await FakeUpstream.start(t, answer({ ...CHAT_ANSWER, choices }))
  const policies = `
  - { id: open, allow: {} }
  - { id: pii, redact: { input: { detect: [email] }, output: { detect: [email] } } }`
  const site = await startGovernor(t, { upstream: upstream.url, policies })
  const { text } = await site.send({ body: chat(`mail ${MAIL}`) })
  t.match(text, 'Not [EMAIL_1] but [EMAIL_2], [EMAIL_1]')
})
