import t from 'tap'

import { InterimHeads } from '../../src/upstream/interim-heads.ts'

/** Goal: a 100 before an answer becomes a 102, and nothing else changes. Method: every cut of the bytes. */

function passed(pieces: readonly string[]): string {
  const heads = new InterimHeads()
  heads.begin()
  return pieces
    .map((piece) => {
      const chunk = Buffer.from(piece, 'latin1')
      heads.pass(chunk)
      return chunk.toString('latin1')
    })
    .join('')
}

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'
const HINTS = 'HTTP/1.1 103 Early Hints\r\nlink: HTTP/1.1 100 x\r\n\r\n'
const BODY = 'HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n'

const WORKING = 'HTTP/1.1 102 Continue\r\n\r\n'

for (const [name, bytes, expected] of [
  ['one', CONTINUE + BODY, WORKING + BODY],
  ['two with hints between', CONTINUE + HINTS + CONTINUE + BODY, WORKING + HINTS + WORKING + BODY],
  ['one behind empty lines', `\r\n\r\n${CONTINUE}${BODY}`, `\r\n\r\n${WORKING}${BODY}`],
  ['one with headers', CONTINUE.replace('\r\n', '\r\na: 100\r\n'), null],
  ['none', BODY, BODY],
  ['statuses like it', `HTTP/1.1 110 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n${BODY}`, ''],
] as const) {
  t.test(`${name}, however the bytes arrive`, (t) => {
    const found = expected === null ? bytes.replace('.1 100', '.1 102') : expected || bytes
    t.equal(passed(bytes.split('')), found)
    for (let at = 1; at < bytes.length; at++) {
      t.equal(passed([bytes.slice(0, at), bytes.slice(at)]), found)
    }
    t.end()
  })
}

t.test('the next call of the connection has heads of its own', (t) => {
  const heads = new InterimHeads()
  const pass = (text: string): string => {
    const chunk = Buffer.from(text)
    heads.pass(chunk)
    return chunk.toString()
  }
  t.equal(pass(CONTINUE), CONTINUE, 'what nobody asked for is left as it is')
  heads.begin()
  t.equal(pass(BODY), BODY)
  heads.begin()
  t.equal(pass(CONTINUE), CONTINUE.replace('100', '102'))
  t.end()
})
