import OpenAI from 'openai'
import t from 'tap'

import { chat, open } from '../support/client.ts'
import {
  answer,
  CHAT_ANSWER,
  chatEvent,
  DONE,
  FakeUpstream,
  HandStream,
  huge,
  stream,
} from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: what policies forbid in answers never reaches a client, and the outcome says what was done. */

const POLICIES = `
  - { id: open, allow: {} }
  - { id: codename, deny: { output: { matches: '(?i)project[- ]zeus' } }, message: This stays inside }
  - { id: mask, redact: { output: { detect: [email, credit_card] } } }
  - { id: quiet, mode: shadow, deny: { output: { words: [hush] } } }
  - { id: chatty, mode: warn, deny: { output: { max_chars: 40 } } }`

function says(content: string, more: object = {}): object {
  const message = { role: 'assistant', content, ...more }
  return { ...CHAT_ANSWER, choices: [{ index: 0, finish_reason: 'stop', message }] }
}

/** One event of a streamed response. */
function event(type: string, rest: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`
}

/** One event of a streamed chat answer, with a piece of a tool call's arguments. */
function piece(args: string, finish: string | null = null): string {
  const delta = { tool_calls: [{ index: 0, function: { arguments: args } }] }
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
}

async function start(t: Tap, policies = POLICIES, sections = {}) {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, policies, ...sections })
  const outcome = async (headers: Readonly<Record<string, unknown>>) => {
    const entries = await site.entriesOf(String(headers['x-governor-request-id']), 2)
    return entries[1]!.body
  }
  return { upstream, site, outcome }
}
type Tap = Parameters<typeof FakeUpstream.start>[0] & Parameters<typeof startGovernor>[0]

// One for all that have the same policies: a start takes seconds where the machine is busy.
const shared = await start(t)

t.test('a whole answer that a policy denies is a refusal in the provider’s shape', async (t) => {
  const { upstream, site, outcome } = shared
  upstream.behaviour = answer(says('All about Project\u200b Zeus'))
  const got = await site.send({ body: chat('hi') })
  t.equal(got.status, 403)
  t.strictSame(got.json, {
    error: {
      message: 'Policy denied this request: This stays inside',
      type: 'policy_violation',
      param: null,
      code: 'policy_denied',
    },
  })
  t.match(got.headers, {
    'x-governor-decision': 'deny',
    'x-governor-code': 'POLICY_DENIED',
    'x-governor-policy': 'codename',
    'x-should-retry': 'false',
  })
  t.match(await outcome(got.headers), {
    outcome: 'refused',
    code: 'POLICY_DENIED',
    status: 403,
    upstream_status: 200,
    policy: 'codename',
    policies: [{ id: 'codename', mode: 'enforce', result: 'denied', why: 'output.matches' }],
    'gen_ai.usage.output_tokens': 2,
  })
  t.equal(await site.metric('governor_decisions_total', 'decision="deny"', 'policy="codename"'), 1)
})

t.test('a whole answer is masked in its own bytes, and the rest of them stays', async (t) => {
  const { upstream, site, outcome } = shared
  const args = '{ "to" : "bob@example.org", "n": 1 }'
  const call = { id: 'c', type: 'function', function: { name: 'mail', arguments: args } }
  const text = 'Mail jane@example.com, bob@example.org, jane@example.com.'
  const sent = JSON.stringify(says(text, { tool_calls: [call] }), null, 1).replace(
    '"choices"',
    '\n\t"big": 12345678901234567890, "choices"',
  )
  upstream.behaviour = answer(sent)
  const got = await site.send({ body: chat('hi') })
  const want = sent
    .replaceAll('jane@example.com', '[EMAIL_1]')
    .replaceAll('bob@example.org', '[EMAIL_2]')
  t.equal(got.text, want)
  t.equal(got.headers['content-length'], String(Buffer.byteLength(want)))
  t.equal(got.headers['x-governor-changed'], 'redacted')
  t.equal(got.headers['x-governor-warning'], 'chatty')
  const entry = await outcome(got.headers)
  t.match(entry, {
    outcome: 'complete',
    status: 200,
    changed: ['redacted'],
    detected: { email: 2 },
    policies: [
      { id: 'chatty', mode: 'warn', result: 'denied', why: 'output.max_chars' },
      { id: 'mask', mode: 'enforce', result: 'redacted', why: 'output.detect: email' },
    ],
  })
  t.notMatch(JSON.stringify(site.entries()), /example\.(com|org)/)
})

t.test('a stream that a policy denies ends as an error, and the upstream stops', async (t) => {
  const { upstream, site, outcome } = shared
  const hand = new HandStream()
  upstream.behaviour = hand.behaviour
  const { response } = await open(site.url, { key: site.key, body: chat('hi', { stream: true }) })
  await hand.begun
  const pieces = [
    'a quiet start of forty and more characters, then Pro',
    'ject',
    ' Ze',
    'us and on',
  ]
  for (const piece of pieces) hand.write(chatEvent(piece))
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  t.notMatch(text, /Pro|Ze/)
  t.match(text, /"code":"policy_denied"\}\}\n\n$/)
  t.match(text, /This stays inside/)
  await until('the upstream call to end', () => (hand.closed ? true : null))
  t.match(await outcome(response.headers), {
    outcome: 'refused',
    code: 'POLICY_DENIED',
    status: 200,
    policy: 'codename',
  })
})

t.test(
  'a stream is masked across its events, with its summary and its log probabilities',
  async (t) => {
    const { upstream, site, outcome } = shared
    const at = { item_id: 'm', output_index: 0, content_index: 0 }
    const full = 'Write to jane@example.com now'
    const delta = (text: string) =>
      event('response.output_text.delta', {
        ...at,
        delta: text,
        logprobs: [{ token: text, logprob: -1, bytes: [1], top_logprobs: [] }],
      })
    const part = { type: 'output_text', text: full, annotations: [], logprobs: [] }
    const item = { id: 'm', type: 'message', role: 'assistant', content: [part] }
    const pieces = [
      event('response.created', { response: { id: 'r', output: [] } }),
      event('response.content_part.added', { ...at, part: { type: 'output_text', text: '' } }),
      ...['Write ', 'to ja', 'ne@exam', 'ple.c', 'om no', 'w'].map(delta),
      event('response.output_text.done', { ...at, text: full, logprobs: [] }),
      event('response.content_part.done', { ...at, part }),
      event('response.output_item.done', { output_index: 0, item }),
      event('response.completed', {
        response: { id: 'r', output: [item], usage: { input_tokens: 1, output_tokens: 2 } },
      }),
    ]
    upstream.behaviour = stream(pieces)
    const got = await site.send({
      path: '/v1/responses',
      body: { model: 'gpt-4o', input: 'x', stream: true },
    })
    const masked = 'Write to [EMAIL_1] now'
    const data = got.text
      .split('\n')
      .filter((line) => line.startsWith('data: '))
      .map(
        (line) =>
          JSON.parse(line.slice(6)) as {
            type: string
            delta?: string
            logprobs?: { token: string }[]
          },
      )
    t.strictSame(
      data.map(({ type }) => type),
      pieces.map((piece) => /event: (\S+)/.exec(piece)![1]),
    )
    t.equal(data.map((each) => each.delta ?? '').join(''), masked)
    const tokens = data.flatMap((each) => each.logprobs?.map(({ token }) => token) ?? [])
    t.strictSame(tokens, ['Write ', 'w'])
    for (const summary of data.slice(-4))
      t.ok(JSON.stringify(summary).includes(masked), summary.type)
    t.notMatch(got.text, /jane|exam|ple\.c/)
    const entry = await outcome(got.headers)
    t.match(entry, { outcome: 'complete', changed: ['redacted'], detected: { email: 1 } })
    t.equal(entry['gen_ai.usage.output_tokens'], 2)
  },
)

t.test('arguments of a call are masked when they are whole, and stay JSON', async (t) => {
  const { upstream, site } = shared
  upstream.behaviour = stream([
    piece('{"to":"ja'),
    piece('ne@example.com"'),
    piece(',"n":1}'),
    piece('', 'tool_calls'),
    DONE,
  ])
  const got = await site.send({ body: chat('hi', { stream: true }) })
  const args = [...got.text.matchAll(/"arguments":("(?:[^"\\]|\\.)*")/g)].map(
    ([, json = '""']) => JSON.parse(json) as string,
  )
  t.strictSame(JSON.parse(args.join('')), { to: '[EMAIL_1]', n: 1 })
})

t.test('what an answer says in an encoding is masked, with the encoding', async (t) => {
  const { upstream, site } = shared
  for (const hidden of ['jane\\u0040example.com', 'jane%40example.com', 'jane&#64;example.com']) {
    upstream.behaviour = answer(says(hidden))
    const got = await site.send({ body: chat('hi') })
    t.match(got.json, { choices: [{ message: { content: /^\[EMAIL_1\]$/ } }] }, hidden)
  }
})

t.test('what cannot be read is refused, and passes where the file says so', async (t) => {
  const odd: readonly (readonly [string, string])[] = [
    ['application/octet-stream', '\u0000\u0001'],
    ['application/json', '{"a":1,"a":2}'],
    ['application/json', '{"choices":[{"message":{"audio":{"data":"UklGRg=="}}}]}'],
  ]
  const { upstream, site } = shared
  for (const [type, body] of odd) {
    upstream.behaviour = answer(body, { headers: { 'content-type': type } })
    const got = await site.send({ body: chat('hi') })
    t.equal(got.headers['x-governor-code'], 'POLICY_DENIED', body)
    t.equal(got.status, 403)
  }
  for (const event of ['data: {"choices":[{"delta":\n\n', `data: ${'x'.repeat(2_000_000)}\n\n`]) {
    upstream.behaviour = stream([chatEvent('Hello'), event, DONE])
    const got = await site.send({ body: chat('hi', { stream: true }) })
    t.match(got.text, /"code":"policy_denied"/)
    t.notMatch(got.text, /xxxx|DONE/)
  }
  upstream.behaviour = answer(says('a long answer to you: jane@example.com'), {
    status: 500,
    headers: { 'content-type': 'text/plain' },
  })
  t.match((await site.send({ body: chat('hi') })).text, /\[EMAIL_1\]/)
})

t.test('an answer longer than what is collected at once is looked at all the same', async (t) => {
  const { upstream, site } = await start(t, POLICIES, { maximums: '{ body: 1MiB }' })
  upstream.behaviour = answer(says(`${'b c '.repeat(200_000)} jane@example.com`))
  const got = await site.send({ body: chat('hi') })
  t.equal(got.status, 200)
  t.match(got.text.slice(-400), /\[EMAIL_1\]/)
  upstream.behaviour = huge(2 * 1024 * 1024)
  const refused = await site.send({ body: chat('hi') })
  t.equal(refused.status, 403)
  t.match(refused.text, /longer than 1048576 bytes/)
})

t.test('a call that no output policy is about passes byte for byte', async (t) => {
  const policies = `
  - { id: open, allow: {} }
  - { id: mask, for: { roles: [intern] }, redact: { output: { detect: [email] } } }
  - { id: quiet, mode: shadow, for: { operations: [chat] }, deny: { output: { detect: [email] } } }`
  const { upstream, site, outcome } = await start(t, policies)
  const pieces = [chatEvent('jane@'), chatEvent('example.com'), chatEvent('', 'stop'), DONE]
  upstream.behaviour = stream(pieces)
  const got = await site.send({ body: chat('hi', { stream: true }) })
  t.equal(got.text, pieces.join(''))
  t.match(await outcome(got.headers), {
    outcome: 'complete',
    changed: undefined,
    detected: { email: 1 },
    policies: [{ id: 'quiet', mode: 'shadow', result: 'denied', why: 'output.detect: email' }],
  })
})

t.test('a client that leaves while text is held back stops the upstream', async (t) => {
  const { upstream, site, outcome } = shared
  const hand = new HandStream()
  upstream.behaviour = hand.behaviour
  const { request, response } = await open(site.url, {
    key: site.key,
    body: chat('hi', { stream: true }),
  })
  await hand.begun
  hand.write(chatEvent('short'))
  response.on('error', () => {})
  request.destroy()
  await until('the upstream call to end', () => (hand.closed ? true : null))
  t.match(await outcome(response.headers), {
    outcome: 'client_closed',
    answer_bytes: 0,
    policies: undefined,
  })
})

t.test('an SDK raises its own error for a stream that a policy ends', async (t) => {
  const { upstream, site } = shared
  upstream.behaviour = stream([chatEvent('All about project '), chatEvent('zeus.'), DONE])
  const client = new OpenAI({ baseURL: `${site.url}/v1`, apiKey: site.key, maxRetries: 0 })
  const params = { model: 'gpt-4o', messages: [{ role: 'user' as const, content: 'hi' }] }
  const told: string[] = []
  await t.rejects(
    async () => {
      const chunks = await client.chat.completions.create({ ...params, stream: true })
      for await (const chunk of chunks) told.push(chunk.choices[0]?.delta.content ?? '')
    },
    { code: 'policy_denied', type: 'policy_violation' },
  )
  t.notMatch(told.join(''), /project/)
  upstream.behaviour = answer(says('project zeus'))
  await t.rejects(client.chat.completions.create(params), { status: 403, code: 'policy_denied' })
})

function delta(index: unknown, content: string, reason: string | null = null): string {
  const choices = [{ index, delta: { content }, finish_reason: reason }]
  return `data: ${JSON.stringify({ choices })}\n\n`
}

t.test('an answer is looked at as its client reads it, whatever it calls itself', async (t) => {
  const { upstream, site } = shared
  const secret = 'project zeus'
  const cut = delta(0, 'project ') + delta(0, 'zeus') + DONE
  const events = 'text/event-stream'
  const rows: readonly (readonly [
    note: string,
    body: string | Buffer,
    type: string,
    status: number,
  ])[] = [
    ['events of another good status', cut, events, 201],
    ['events of a bad status', cut, events, 400],
    ['events that call themselves some JSON', cut, 'text/x-json', 200],
    ['events that call themselves a text, for who asked for none', cut, 'text/plain', 200],
    ['the same behind a mark', `\ufeff${cut}`, 'text/plain', 200],
    [
      'indexes that are one to a client',
      delta(0, 'project ') + delta('0', 'zeus') + DONE,
      events,
      200,
    ],
    ['ends that are none', delta(0, 'project ', '') + delta(0, 'zeus', '') + DONE, events, 200],
    ['two bytes a letter', Buffer.from(secret, 'utf16le'), 'text/plain; charset=utf-16le', 200],
    ['letters by name', '+AHA-roject zeus', 'text/plain;charset="utf-7"', 500],
  ]
  for (const [note, body, type, status] of rows) {
    upstream.behaviour = (_received, response) => {
      response.writeHead(status, { 'content-type': type }).end(body)
    }
    const got = await site.send({ body: chat('hi', { stream: type !== 'text/plain' }) })
    t.notMatch(got.text, /zeus|AHA/, note)
    t.notMatch(got.text.replaceAll('\0', ''), /project/, note)
    t.match(got.text, 'Policy denied this request', note)
  }
  upstream.behaviour = answer('', { status: 204 })
  t.equal((await site.send({ body: chat('hi', { stream: true }) })).status, 204)
})

t.test(
  'an answer longer than max_tokens is refused whole, and cut where it exceeds it',
  async (t) => {
    const policies = `
  - { id: open, allow: {} }
  - { id: brief, deny: { output: { max_tokens: 20 } } }`
    const { upstream, site } = await start(t, policies)
    const long = 'one two three '.repeat(10)
    upstream.behaviour = answer(says('one two three'))
    t.equal((await site.send({ body: chat('hi') })).status, 200)
    upstream.behaviour = answer(says(long))
    const whole = await site.send({ body: chat('hi') })
    t.equal(whole.headers['x-governor-policy'], 'brief')
    const events = long.split('').map((text) => chatEvent(text))
    upstream.behaviour = stream([...events, DONE])
    const cut = await site.send({ body: chat('hi', { stream: true }) })
    const said = [...cut.text.matchAll(/"content":"([^"]*)"/g)].map(([, text]) => text).join('')
    t.ok(said.length > 40 && said.length < 100, `${said.length} characters`)
    t.match(cut.text, /policy_denied/)
  },
)
