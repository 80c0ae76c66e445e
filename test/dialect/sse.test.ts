import t from 'tap'

import { EVENT_BYTES_MAX, readEvent, SseSplitter } from '../../src/dialect/sse.ts'

/** Events, `part…` for parts, and the rest of a stream that arrives in the given chunks. */
function split(chunks: readonly Buffer[]): string[] {
  const seen: string[] = []
  const splitter = new SseSplitter({
    event: (bytes) => void seen.push(bytes.toString()),
    part: (bytes, last) => void seen.push(`part ${bytes.length}${last ? ' last' : ''}`),
  })
  for (const chunk of chunks) splitter.push(chunk)
  return [...seen, splitter.rest().toString()]
}

const read = (text: string) => readEvent(Buffer.from(text))

const STREAMS: readonly (readonly [string, readonly string[]])[] = [
  ['data: a\n\ndata: b\n\n', ['data: a\n\n', 'data: b\n\n', '']],
  ['data: a\r\n\r\ndata: b\r\n\r\nx', ['data: a\r\n\r\n', 'data: b\r\n\r\n', 'x']],
  ['data: a\r\rdata: b\r\rx', ['data: a\r\r', 'data: b\r\r', 'x']],
  [
    'data: a\n\r\ndata: b\r\n\ndata: c\r\n\rd',
    ['data: a\n\r\n', 'data: b\r\n\n', 'data: c\r\n\r', 'd'],
  ],
  [
    ': ping\n\nevent: e\ndata: 1\ndata: 2\n\n',
    [': ping\n\n', 'event: e\ndata: 1\ndata: 2\n\n', ''],
  ],
  ['data: a\n\n\n\ndata: é', ['data: a\n\n', '\n', '\n', 'data: é']],
]

t.test('SseSplitter cuts alike at every split point', async (t) => {
  for (const [stream, expected] of STREAMS) {
    const bytes = Buffer.from(stream)
    t.strictSame(split([bytes]), expected)
    for (let at = 0; at <= bytes.length; at++) {
      const halves = [bytes.subarray(0, at), bytes.subarray(at)]
      if (JSON.stringify(split(halves)) !== JSON.stringify(expected)) t.fail(`split at ${at}`)
    }
    const single = Array.from(bytes, (byte) => Buffer.of(byte))
    t.strictSame(split(single), expected)
  }
})

t.test('SseSplitter does not hold an event beyond its maximum', async (t) => {
  const half = Buffer.alloc(EVENT_BYTES_MAX / 2, 'x')
  const seen = split([half, half, half, Buffer.from('y\n\ndata: a\n\n')])
  t.strictSame(seen, [`part ${(EVENT_BYTES_MAX / 2) * 3}`, 'part 3 last', 'data: a\n\n', ''])
})

t.test('readEvent() reads the name and the data', async (t) => {
  t.strictSame(read('event: e\r\ndata: 1\r\ndata:2\r\n\r\n'), { name: 'e', data: '1\n2' })
  t.strictSame(read(': comment\n\n'), { name: '', data: '' })
  t.strictSame(read('data:  two spaces\r\r'), { name: '', data: ' two spaces' })
})
