import t from 'tap'

import { OutputCounter } from '../../src/limit/output-counter.ts'

function counted(text: string, size: number, repeats = false): number {
  const counter = new OutputCounter(repeats)
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) counter.push(bytes.subarray(at, at + size))
  return counter.bytes
}

const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`

for (const size of [1, 2, 3, 7, 1_000]) {
  t.test(`OutputCounter counts what a model wrote, in pieces of ${size}`, async (t) => {
    const chat = (content: string) =>
      event({ id: 'content', choices: [{ delta: { role: 'assistant', content } }] })
    t.equal(counted(chat('Hello') + chat(' "you"\n') + chat('\u00e4'), size), 5 + 7 + 2)
    t.equal(counted(event({ content: 'x', model: 'content', text: 'yz' }), size), 3)
    t.equal(counted('{"text":"\\u4f60\\\\"}', size), 4)
    t.equal(counted('{"arguments":"{\\"a\\":1}"}', size), 7)
    t.equal(counted('{"delta":{"type":"text_delta","text":"abc"}}', size), 3)
    t.equal(counted('{"usage":{"content":12},"object":"delta"}', size), 0)
  })
}

t.test('OutputCounter counts the pieces of a stream that says its parts again', async (t) => {
  const text =
    event({ type: 'response.output_text.delta', delta: 'abc' }) +
    event({ type: 'response.output_text.done', text: 'abc' })
  t.equal(counted(text, 10, true), 3)
})

t.test('OutputCounter goes on after an event that was cut short', async (t) => {
  t.equal(counted('data: {"content":"ab\n\ndata: {"content":"cd"}\n\n', 5), 4)
})
