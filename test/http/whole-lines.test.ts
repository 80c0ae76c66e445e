import t from 'tap'

import { hasWholeData, lineKindOf, WholeLines } from '../../src/http/whole-lines.ts'

/**
 * Goal: of a stream whole lines pass at once, whatever pieces it comes in, and no byte is lost or changed. Method: every
 * cut into two, and every byte alone; where lines end is found by taking the text apart.
 */

const STREAMS = [
  'data: a\n\ndata: b\n\n',
  'data: a\r\n\r\ndata: b\r\n\r\n',
  'data: a\r\rdata: b\r\r',
  'event: x\ndata: a\ndata: b\n\n: comment\n\n\ndata: [DONE]\n\n',
  ': still here\n: still here\ndata: a\n:\n\nid: 1\nevent: y\nretry: 5\ndata: b\n\n',
  'id: 1\r\nevent: y\r\ndata: b\r\n\r\n: c\r\n',
  '\n\ndata: a\r\n\ndata: b\n\r\ndata: c\r\r\n\ndata: d',
  'data: a\ndata: b\r\ndata: c',
  'event: alone\n\nevent: x',
]

/** Where each line that may pass ends: behind its LF, CR or both. */
function ends(text: string): Set<number> {
  const found = new Set([0])
  for (const { 0: line, index } of text.matchAll(/[^\r\n]*(?:\r\n|\r|\n)/g)) {
    if (/^[eir]/.test(line)) continue
    found.add(index + line.length)
    // An LF behind the CR that ended a line may pass with it or by itself.
    if (line.endsWith('\r\n')) found.add(index + line.length - 1)
  }
  return found
}

/** What had passed after each piece, as lengths; all of it, and what was kept. */
function passed(pieces: readonly string[]): { text: string; lengths: number[]; rest: string } {
  const lines = new WholeLines('events')
  let text = ''
  const lengths: number[] = []
  for (const piece of pieces) {
    text += lines.push(Buffer.from(piece)).toString()
    lengths.push(text.length)
  }
  return { text, lengths, rest: lines.rest().toString() }
}

t.test('whole lines pass at once, and half ones when they are whole', (t) => {
  for (const stream of STREAMS) {
    const known = ends(stream)
    const pieces = [stream.split(''), [stream]]
    for (let at = 1; at < stream.length; at++) pieces.push([stream.slice(0, at), stream.slice(at)])
    for (const cut of pieces) {
      const { text, lengths, rest } = passed(cut)
      t.equal(text + rest, stream)
      let came = 0
      for (const [index, piece] of cut.entries()) {
        came += piece.length
        // Behind a CR an LF may still come, and what it ends has passed already.
        const latest = Math.max(...[...known].filter((end) => end <= came))
        t.equal(lengths[index], latest, JSON.stringify(cut.slice(0, index + 1)))
      }
    }
  }
  t.end()
})

t.test('what keeps a connection alive is not kept, nor data whose empty line is late', (t) => {
  const lines = new WholeLines('events')
  const push = (text: string) => lines.push(Buffer.from(text)).toString()
  t.equal(push(':\n'), ':\n')
  t.notOk(lines.isMidEvent)
  t.equal(push('data: a\n'), 'data: a\n')
  t.ok(lines.isMidEvent, 'an error now needs an empty line in front')
  t.equal(push(': still here\n'), ': still here\n')
  t.ok(lines.isMidEvent)
  t.equal(push('\nevent: x\n'), '\n')
  t.notOk(lines.isMidEvent)
  t.equal(push('data: {"a'), '')
  t.equal(push('":1}\n'), 'event: x\ndata: {"a":1}\n')
  t.equal(push('\ndata: b\n\n'), '\ndata: b\n\n')
  t.notOk(lines.isMidEvent)
  t.equal(lines.rest().length, 0)
  t.end()
})

t.test('lists of JSON have lines, too', (t) => {
  const lines = new WholeLines('json')
  t.equal(lines.push(Buffer.from('{"a":1}\n{"b"')).toString(), '{"a":1}\n')
  t.equal(lines.push(Buffer.from(':2}\r')).toString(), '')
  t.equal(lines.push(Buffer.from('\n')).toString(), '{"b":2}\r\n')
  t.equal(lines.push(Buffer.from('event\n')).toString(), 'event\n')
  t.equal(lines.rest().toString(), '')
  t.strictSame(
    ['text/event-stream; charset=utf-8', 'application/x-ndjson', 'text/plain', ''].map(lineKindOf),
    ['events', 'json', null, null],
  )
  t.end()
})

t.test('a line of more than 1 MiB goes on as it comes, and the next one is whole again', (t) => {
  const lines = new WholeLines('events')
  const piece = Buffer.alloc(64 * 1024, 'd')
  let bytes = 0
  for (let index = 0; index < 16; index++) bytes += lines.push(piece).length
  t.equal(bytes, 0)
  t.equal(lines.push(piece).length, 17 * piece.length)
  t.equal(lines.push(piece).length, piece.length)
  t.equal(lines.push(Buffer.from('\n\ndata: a')).toString(), '\n\n')
  t.equal(lines.push(Buffer.from('\n\n')).toString(), 'data: a\n\n')
  t.end()
})

t.test('what is no event does not wait, under whatever name it comes', (t) => {
  const lines = new WholeLines('events')
  const push = (text: string) => lines.push(Buffer.from(text)).toString()
  t.equal(push('{"id":'), '{"id":')
  t.equal(push('"x"}'), '"x"}')
  t.equal(push('\ndat'), '\n')
  t.equal(push('a: b\n'), 'data: b\n')
  t.end()
})

t.test('half an event is told from one that only lacks its end', (t) => {
  for (const [event, isWhole] of [
    ['data: {"a":1}', true],
    ['event: x\ndata: {"a":1}', true],
    ['data: {"a":', false],
    ['event: x\n', false],
    [': only a comment', false],
  ] as const) {
    t.equal(hasWholeData(Buffer.from(event), 'events'), isWhole, event)
  }
  t.ok(hasWholeData(Buffer.from('{"a":1}'), 'json'))
  t.notOk(hasWholeData(Buffer.from('{"a":'), 'json'))
  t.end()
})
