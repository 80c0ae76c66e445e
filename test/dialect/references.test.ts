import t from 'tap'

import { mayRefer } from '../../src/dialect/references.ts'

function refers(value: unknown): boolean {
  return mayRefer(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), {})
}

t.test('mayRefer() lets an ordinary conversation go, with what the assistant said', async (t) => {
  const messages = [
    { role: 'system', content: 'Be brief' },
    { role: 'user', content: 'Is there a file of the audio?' },
    { role: 'assistant', content: 'No' },
    { role: 'user', content: 'hello' },
  ]
  t.notOk(refers({ model: 'gpt-4o', messages, temperature: 0.2 }))
})

t.test('mayRefer() looks at whatever could name something that is kept', async (t) => {
  for (const body of [
    { messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] },
    '{"messages":[{"role":"user","content":[{"type":"file","file" : {"file_id":"f"}}]}]}',
    '{"assistant"\n:{"id":"a"}}',
    { previous_response_id: 'r' },
    { input: [{ type: 'item_reference', id: 'i' }] },
    { container: 'c' },
    '{"fil\\u0065_id":"f"}',
    { store: true },
  ]) {
    t.ok(refers(body), JSON.stringify(body))
  }
})
