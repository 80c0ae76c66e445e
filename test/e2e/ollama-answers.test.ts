import t from 'tap'

import { answer, type Behaviour, FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: policies on answers hold for Ollama's lines of JSON as for any other stream. */

const POLICIES = `
  - { id: open, allow: {} }
  - { id: no-leak, deny: { output: { words: [secret] } } }
  - { id: mask, redact: { output: { detect: [email] } } }
  - { id: brief, deny: { output: { max_chars: 60 } } }`

const upstream = await FakeUpstream.start(t)
const site = await startGovernor(t, {
  upstream: upstream.url,
  dialect: 'ollama',
  policies: POLICIES,
})

const chatLine = (content: string, more: object = {}) =>
  `${JSON.stringify({ model: 'llama3.2', message: { role: 'assistant', content }, done: false, ...more })}\n`
const LAST = `${JSON.stringify({ model: 'llama3.2', message: { role: 'assistant', content: '' }, done: true, eval_count: 2 })}\n`

/** Lines in pieces of five bytes. */
function lines(text: string): Behaviour {
  return (_received, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; at += 5) response.write(bytes.subarray(at, at + 5))
    response.end()
  }
}

async function ask(behaviour: Behaviour, path = '/api/chat') {
  upstream.behaviour = behaviour
  const body =
    path === '/api/chat'
      ? { model: 'llama3.2', messages: [{ role: 'user', content: 'hi' }] }
      : { model: 'llama3.2', prompt: 'hi' }
  return site.send({ path, body })
}

function said(text: string): string {
  const parsed = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { message?: { content: string }; response?: string })
  return parsed.map(({ message, response }) => message?.content ?? response ?? '').join('')
}

const whole = (content: string) =>
  answer({ model: 'llama3.2', message: { role: 'assistant', content }, done: true })

t.test('a stream in which nothing is found passes byte for byte', async (t) => {
  const text = chatLine('Hello') + chatLine(' there').replace('\n', '\r\n') + LAST
  t.equal((await ask(lines(text))).text, text)
})

t.test('a value that is cut over lines is masked, in chat and generate', async (t) => {
  const pieces = ['mail jo', '@exam', 'ple.com now']
  const chat = await ask(lines(pieces.map((piece) => chatLine(piece)).join('') + LAST))
  t.equal(said(chat.text), 'mail [EMAIL_1] now')
  const generated = pieces.map((response) => `${JSON.stringify({ response, done: false })}\n`)
  const end = `${JSON.stringify({ response: '', done: true })}\n`
  const generate = await ask(lines(generated.join('') + end), '/api/generate')
  t.equal(said(generate.text), 'mail [EMAIL_1] now')
})

t.test('a denied stream ends with a line that is an error', async (t) => {
  const got = await ask(lines(chatLine('well, the se') + chatLine('cret is out') + LAST))
  const rows = got.text.trimEnd().split('\n')
  t.match(JSON.parse(rows.at(-1)!), { error: /Policy/ })
  t.notMatch(got.text, /cret/)
  const [, outcome] = await site.entriesOf(String(got.headers['x-governor-request-id']), 2)
  t.match(outcome!.body, { outcome: 'refused', policy: 'no-leak' })
})

t.test('thinking, calls of tools and lengths are looked at, too', async (t) => {
  const tool = { tool_calls: [{ function: { name: 'mail', arguments: { to: 'the secret' } } }] }
  for (const line of [
    chatLine('', { message: { role: 'assistant', content: '', thinking: 'a secret' } }),
    chatLine('', { message: { role: 'assistant', content: '', ...tool } }),
    chatLine('x'.repeat(40)) + chatLine('y'.repeat(40)),
    '{"message":{"content":"a"},"message":{"content":"secret"}}\n',
  ]) {
    const got = await ask(lines(line + LAST))
    t.match(got.text, /"error"/, line.slice(0, 60))
    t.notMatch(got.text, /secret|y{40}/)
  }
})

t.test('whole answers are masked and refused', async (t) => {
  const masked = await ask(whole('to jo@example.com'))
  t.equal(said(masked.text), 'to [EMAIL_1]')
  t.equal((await ask(whole('a secret'))).status, 403)
})

t.test('lines that call themselves a text are looked at as lines', async (t) => {
  const text = `${chatLine('a sec')}${chatLine('ret')}${LAST}`
  upstream.behaviour = (_received, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' }).end(text)
  }
  const body = { model: 'llama3.2', messages: [{ role: 'user', content: 'hi' }], stream: false }
  const got = await site.send({ path: '/api/chat', body })
  t.notMatch(got.text, /sec|ret"/)
  t.match(got.text, 'Policy denied')
})
