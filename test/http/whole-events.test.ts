import t from 'tap'

import { SseSplitter } from '../../src/dialect/sse.ts'
import { eventEndOf, hasWholeData, WholeEvents } from '../../src/http/whole-events.ts'

/**
 * Goal: of a stream whole events pass, whatever pieces it comes in, and no byte is lost or changed. Method: every cut
 * into two, and every byte alone; where events end is compared with what takes them apart elsewhere.
 */

const STREAMS = [
  'data: a\n\ndata: b\n\n',
  'data: a\r\n\r\ndata: b\r\n\r\n',
  'data: a\r\rdata: b\r\r',
  'event: x\ndata: a\ndata: b\n\n: comment\n\n\ndata: [DONE]\n\n',
  '\n\ndata: a\r\n\ndata: b\n\r\ndata: c\r\r\n\ndata: d',
  'data: a\ndata: b\r\ndata: c',
]

function ends(text: string): number[] {
  const found: number[] = []
  let at = 0
  const splitter = new SseSplitter({
    event: (bytes) => void found.push((at += bytes.length)),
    part: () => {},
  })
  splitter.push(Buffer.from(text))
  return found
}

/** Where what passed ended after each piece. */
function passed(pieces: readonly string[]): { text: string; ends: number[]; rest: string } {
  const events = new WholeEvents('empty line')
  let text = ''
  const found: number[] = []
  for (const piece of pieces) {
    text += events.push(Buffer.from(piece)).toString()
    found.push(text.length)
  }
  return { text, ends: found, rest: events.rest().toString() }
}

t.test('whole events pass at once, and half ones when they are whole', (t) => {
  for (const stream of STREAMS) {
    // An LF behind a CR that ended an event may pass with it or by itself; the other one waits for it.
    const known = new Set([0, ...ends(`${stream}:`)])
    const isEnd = (at: number) => known.has(at) || (stream[at] === '\n' && known.has(at + 1))
    const pieces = [stream.split(''), [stream]]
    for (let at = 1; at < stream.length; at++) pieces.push([stream.slice(0, at), stream.slice(at)])
    for (const cut of pieces) {
      const found = passed(cut)
      t.equal(found.text + found.rest, stream)
      t.ok(found.ends.every(isEnd), JSON.stringify(cut))
      t.notOk(
        ends(found.rest).some((end) => end < found.rest.length),
        'nothing whole is kept',
      )
    }
  }
  t.end()
})

t.test('a line is an event in lists of JSON', (t) => {
  const lines = new WholeEvents('line')
  t.equal(lines.push(Buffer.from('{"a":1}\n{"b"')).toString(), '{"a":1}\n')
  t.equal(lines.push(Buffer.from(':2}')).toString(), '')
  t.equal(lines.push(Buffer.from('\n')).toString(), '{"b":2}\n')
  t.equal(lines.rest().toString(), '')
  t.strictSame(
    ['text/event-stream; charset=utf-8', 'application/x-ndjson', 'text/plain', ''].map(eventEndOf),
    ['empty line', 'line', null, null],
  )
  t.end()
})

t.test('an event of more than 1 MiB goes on as it comes, and the next one is whole again', (t) => {
  const events = new WholeEvents('empty line')
  const piece = Buffer.alloc(64 * 1024, 'x')
  let bytes = 0
  for (let index = 0; index < 16; index++) bytes += events.push(piece).length
  t.equal(bytes, 0)
  t.equal(events.push(piece).length, 17 * piece.length)
  t.equal(events.push(piece).length, piece.length)
  t.equal(events.push(Buffer.from('\n\ndata: a')).toString(), '\n\n')
  t.equal(events.push(Buffer.from('\n\n')).toString(), 'data: a\n\n')
  t.end()
})

t.test('half an event is told from one that only lacks its end', (t) => {
  for (const [event, isWhole] of [
    ['data: {"a":1}', true],
    ['event: x\ndata: {"a":1}\n', true],
    ['data: {"a":\ndata: 1}\r\n', true],
    ['data: {"a":', false],
    ['event: x\n', false],
    [': only a comment', false],
  ] as const) {
    t.equal(hasWholeData(Buffer.from(event), 'empty line'), isWhole, event)
  }
  t.ok(hasWholeData(Buffer.from('{"a":1}'), 'line'))
  t.notOk(hasWholeData(Buffer.from('{"a":'), 'line'))
  t.end()
})
