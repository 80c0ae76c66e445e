import type { Framing } from '../nouns/answer.ts'

/**
 * A stream that is one JSON array (RFC 8259 §5), its events the elements: what Gemini answers with where
 * nobody asked for server-sent events.
 */

const QUOTE = 0x22
const COMMA = 0x2c
const LIST = 0x5b
const ESCAPE = 0x5c
const LIST_END = 0x5d
const OBJECT = 0x7b
const OBJECT_END = 0x7d
/** Elements of one array; a stream of more is none. */
const ELEMENTS_MAX = 100_000
const EMPTY = Buffer.alloc(0)

/**
 * Where the elements of an array of objects end, offsets in `body`; null where it is anything else. What
 * is in an element is not looked at; linear in the bytes.
 */
export function elementEnds(body: Buffer): readonly number[] | null {
  const ends: number[] = []
  let at = afterSpace(body, 0)
  if (body[at] !== LIST) return null
  at = afterSpace(body, at + 1)
  while (body[at] === OBJECT && ends.length < ELEMENTS_MAX) {
    const end = objectEnd(body, at)
    ends.push(end)
    at = afterSpace(body, end)
    if (body[at] !== COMMA) break
    at = afterSpace(body, at + 1)
    if (body[at] !== OBJECT) return null
  }
  const isWhole = body[at] === LIST_END && afterSpace(body, at + 1) === body.length
  return isWhole ? ends : null
}

/** Tab, line feed, carriage return and space, and nothing else. */
function afterSpace(body: Buffer, from: number): number {
  let at = from
  while (body[at] === 0x20 || body[at] === 0x0a || body[at] === 0x0d || body[at] === 0x09) at++
  return at
}

function objectEnd(body: Buffer, from: number): number {
  let depth = 0
  let at = from
  for (; at < body.length; at++) {
    const byte = body[at]
    if (byte === QUOTE) at = stringEnd(body, at)
    else if (byte === OBJECT) depth++
    else if (byte === OBJECT_END && --depth === 0) return at + 1
  }
  return at
}

/** The quote that ends the string which begins at `from`. */
function stringEnd(body: Buffer, from: number): number {
  let at = from + 1
  while (at < body.length && body[at] !== QUOTE) at += body[at] === ESCAPE ? 2 : 1
  return at
}

/** An element with what stands before it; what is left at the end has no data. */
export const ELEMENTS: Pick<Framing, 'parts' | 'withData'> = {
  parts(event) {
    const at = event.indexOf(OBJECT)
    return { data: at === -1 ? EMPTY : event.subarray(at), at, rest: '' }
  },
  withData: (event, { at }, other) => Buffer.concat([event.subarray(0, at), other]),
}
