import t from 'tap'

import { StreamStart } from '../../src/http/stream-start.ts'

/** What is said of a text in pieces of `size` bytes, and what was given back of it, all told. */
function told(text: string, size: number): readonly [boolean, string] {
  const start = new StreamStart()
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) {
    const isStream = start.look(bytes.subarray(at, at + size))
    if (isStream === null) continue
    const rest = bytes.subarray(at + size)
    return [isStream, Buffer.concat([start.take(), rest]).toString()]
  }
  return [start.end(), start.take().toString()]
}

const STREAMS = [
  'data: {"type":"transcript.text.delta"}\n\n',
  'data:{"a":1}\r\n\r\n',
  'data: [DONE]\n\n',
  'data\u003a "quoted"\n\n',
  '\ufeffdata: {}\n\n',
  '\n\nevent: transcript.text.delta\ndata: {}\n\n',
  'event: message\rdata: {}\r\r',
  ': keep-alive\n\ndata: {}\n\n',
  'id: 7\ndata: {}\n\n',
  'retry: 1000\n\n',
  '{"choices":[]}',
  '{\n  "candidates": []',
  '[{"candidates":[]}',
  '[ ]',
  '',
]
const TEXTS = [
  'data',
  'data is what we talk about',
  'Data: a film',
  'data: the new oil, they say',
  'database',
  'event',
  'eventually it rained',
  'event: a launch of something\n',
  'id say so',
  'idea',
  'retry it',
  'retry: never\n',
  '[Music] hello',
  '[',
  '{laughs} hello',
  '\n',
  ' ',
  'hello',
  'é',
  '\u00ef is a letter',
  `data:${' '.repeat(400)}`,
]

t.test('a stream is told from a text by how it begins, in pieces of any size', async (t) => {
  for (const [texts, isStream] of [
    [STREAMS, true],
    [TEXTS, false],
  ] as const) {
    for (const text of texts) {
      for (const size of [1, 2, 3, 5, 1000]) {
        t.strictSame(told(text, size), [isStream, text], `${JSON.stringify(text)} by ${size}`)
      }
    }
  }
})
