import t from 'tap'

import { findReferences, mayRefer } from '../../src/dialect/references.ts'
import { runSteps } from '../../src/dialect/steps.ts'
import { formBody } from './samples.ts'

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
    { characters: [{ id: 'char_1' }] },
  ]) {
    t.ok(refers(body), JSON.stringify(body))
  }
})

t.test(
  'findReferences() knows skills, voices and videos of tenants, and none of the provider',
  async (t) => {
    const skills = ['skill_1', 'pptx'].map((skill_id) => ({ type: 'skill_reference', skill_id }))
    const body = {
      tools: [{ type: 'shell', environment: { type: 'container_auto', skills } }],
      voice: { id: 'voice_1' },
      video: { id: 'video_1' },
      audio: { voice: 'alloy', format: 'wav' },
      characters: [{ id: 'char_1' }, 'char_2'],
      item: { characters: ['Alice', { id: 'bob' }] },
    }
    const found = runSteps(findReferences(Buffer.from(JSON.stringify(body)), { jsonDepth: 64 }))
    t.strictSame(
      found.named.map(({ id }) => id),
      ['skill_1', 'voice_1', 'video_1', 'char_2', 'char_1'],
    )
  },
)

t.test('findReferences() knows the fields of forms that name what is kept', async (t) => {
  const fields = {
    consent: 'cons_1',
    'video[id]': 'video_1',
    name: 'cons_2',
    'input_reference[file_id]': 'file_1',
    'characters[0][id]': 'char_1',
    'characters[]': 'char_2',
    'metadata[id]': 'x_1',
  }
  const form = formBody(fields, { name: 'audio_sample', content: 'cons_3' })
  const reading = { jsonDepth: 64, boundary: 'sample-boundary' }
  const found = runSteps(findReferences(form, reading))
  t.strictSame(
    found.named.map(({ id }) => id),
    ['cons_1', 'video_1', 'file_1', 'char_1', 'char_2'],
  )
})
