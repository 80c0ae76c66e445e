import t from 'tap'

import { ollama } from '../../src/dialect/ollama.ts'
import type { Facts, Route } from '../../src/exchange.ts'
import { refused } from './refused.ts'

function route(path: string): Route {
  const found = ollama.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  return { endpoint: found.endpoint, dialect: ollama, mount: null, path, pathModel: null }
}

function facts(path: string, body: object): Promise<Facts> {
  return ollama.inspect(route(path), Buffer.from(JSON.stringify(body)), { jsonDepth: 64 })
}

function refusal(path: string, body: object): Promise<string> {
  return refused(facts(path, body))
}

const chat = (more: object = {}) => ({
  model: 'llama3.2',
  messages: [{ role: 'user', content: 'hello' }],
  ...more,
})

t.test('a stream is what a call is that says nothing else', async (t) => {
  t.equal((await facts('/api/chat', chat())).stream, true)
  t.equal((await facts('/api/chat', chat({ stream: true }))).stream, true)
  t.equal((await facts('/api/chat', chat({ stream: false }))).stream, false)
  t.equal((await facts('/api/embed', { model: 'm', input: 'a' })).stream, false)
})

t.test('texts, models, caps and what is no text', async (t) => {
  const found = await facts('/api/generate', {
    model: 'm',
    prompt: 'a',
    template: 'ZEBRA {{ .Prompt }}',
    context: [1, 2],
    images: ['iVBORw0KGgo'.repeat(20)],
    options: { num_predict: 12 },
  })
  t.ok(found.texts.values.includes('ZEBRA {{ .Prompt }}'))
  t.equal(found.maxOutputTokens, 12)
  t.strictSame(found.uninspectable, [
    { kind: 'reference', pointer: '/template' },
    { kind: 'token_ids', pointer: '/context' },
    { kind: 'image', pointer: '/images' },
  ])
  const uncapped = chat({ options: { num_predict: -1 } })
  t.equal(await refusal('/api/chat', uncapped), 'FIELD_INVALID /options/num_predict')
  const tools = [{ type: 'function', function: { name: 'now' } }]
  t.strictSame((await facts('/api/chat', chat({ tools }))).tools, ['now'])
  const pictured = [{ role: 'user', content: 'a', images: ['aaaa'] }]
  t.strictSame((await facts('/api/chat', chat({ messages: pictured }))).uninspectable, [
    { kind: 'image', pointer: '/messages/0/images' },
  ])
})

t.test('what Go would read as another field is refused', async (t) => {
  t.equal(await refusal('/api/chat', chat({ System: 'a' })), 'FIELD_INVALID /System')
  t.equal(await refusal('/api/chat', { Model: 'm', messages: [] }), 'MODEL_INVALID /model')
  const messages = [{ role: 'user', Content: 'a' }]
  t.equal(await refusal('/api/chat', chat({ messages })), 'FIELD_INVALID /messages/0/Content')
  const options = { NUM_PREDICT: 9 }
  t.equal(await refusal('/api/chat', chat({ options })), 'FIELD_INVALID /options/NUM_PREDICT')
  t.equal(await refusal('/api/chat', { model: 'm' }), 'FIELD_INVALID ')
  for (const path of ['/api/pull', '/api/delete', '/api/create', '/api/blobs/a']) {
    t.match(ollama.lookup('POST', path), { kind: 'unknown', hint: /changes the server/ })
  }
})

t.test('usage is on the last line, however the lines are cut', async (t) => {
  const text =
    '{"model":"m","message":{"content":"a"},"done":false}\n' +
    '{"model":"m","done":true,"prompt_eval_count":3,"eval_count":4}\n'
  const bytes = Buffer.from(text)
  for (const size of [1, 10, bytes.length]) {
    const meter = ollama.meter(route('/api/chat'), await facts('/api/chat', chat()), false)
    const out: Buffer[] = []
    for (let at = 0; at < bytes.length; at += size)
      out.push(meter.chunk(bytes.subarray(at, at + size)))
    out.push(meter.flush())
    t.equal(Buffer.concat(out).toString(), text)
    t.match({ ...meter.usage }, { inputTokens: 3, outputTokens: 4, responseModel: 'm' })
    t.equal(meter.complete, true)
  }
  const cut = ollama.meter(route('/api/chat'), await facts('/api/chat', chat()), false)
  cut.chunk(bytes.subarray(0, 60))
  cut.flush()
  t.equal(cut.complete, false)
})

t.test('usage of an answer of which only the end was kept is found there', async (t) => {
  const meter = ollama.meter(route('/api/chat'), await facts('/api/chat', chat()), false)
  const numbers = '0.12345,'.repeat(9000)
  meter.whole(Buffer.from(`${numbers}0]],"total_duration":9,"prompt_eval_count":8,"eval_count":2}`))
  t.match({ ...meter.usage }, { inputTokens: 8, outputTokens: 2 })
  t.equal(meter.complete, true)
})
