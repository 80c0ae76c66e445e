/** Events of sessions that are one object of strings, numbers and words: read in their bytes, without a tree. */

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN = 0x7b
const CLOSE = 0x7d
/** No event has a longer name for a member. */
const NAME_CHARS_MAX = 64
/** More members than any flat event has. */
const MEMBERS_MAX = 64
/** Looked at byte by byte before the rest is searched natively, which costs a call. */
const NEAR_BYTES = 32

/** Where a value stands; a string's without its quotes. */
export interface FlatValue {
  readonly start: number
  readonly end: number
  readonly isString: boolean
}

/** Is told of each member in turn. False: it has to be read otherwise. */
export type FlatMember = (name: string, value: FlatValue) => boolean

/**
 * Walks over an object whose members are strings, numbers, `true`, `false` and `null`. False for anything
 * else, which whoever asked reads with a parser, and for names with an escape in them. What is in a string
 * or a number is not checked. Linear in the bytes; never throws.
 */
export function walkFlat(bytes: Buffer, member: FlatMember): boolean {
  let at = skipSpace(bytes, 0)
  if (bytes[at] !== OPEN) return false
  for (let count = 0; count < MEMBERS_MAX; count++) {
    const name = nameAt(bytes, skipSpace(bytes, at + 1))
    const colon = name === null ? -1 : skipSpace(bytes, name.end + 1)
    if (name === null || bytes[colon] !== COLON) return false
    const value = valueAt(bytes, skipSpace(bytes, colon + 1))
    if (value === null || !member(bytes.toString('latin1', name.start, name.end), value)) {
      return false
    }
    at = skipSpace(bytes, value.isString ? value.end + 1 : value.end)
    if (bytes[at] === CLOSE) return skipSpace(bytes, at + 1) === bytes.length
    if (bytes[at] !== COMMA) return false
  }
  return false
}

/** Null for a name with an escape in it, and where there is none. */
function nameAt(bytes: Buffer, at: number): FlatValue | null {
  const name = bytes[at] === QUOTE ? valueAt(bytes, at) : null
  if (name === null || name.end - name.start > NAME_CHARS_MAX) return null
  for (let each = name.start; each < name.end; each++) if (bytes[each] === BACKSLASH) return null
  return name
}

function valueAt(bytes: Buffer, at: number): FlatValue | null {
  const isString = bytes[at] === QUOTE
  const start = isString ? at + 1 : at
  const end = isString ? stringEnd(bytes, start) : wordEnd(bytes, start)
  return end === -1 || (end === start && !isString) ? null : { start, end, isString }
}

/** RFC 8259 §2. */
function skipSpace(bytes: Buffer, from: number): number {
  let at = from
  for (; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break
  }
  return at
}

/** Where the quote stands that ends a string whose first byte is at `from`; -1 where there is none. */
function stringEnd(bytes: Buffer, from: number): number {
  const near = Math.min(bytes.length, from + NEAR_BYTES)
  for (let at = from; at < near; at++) {
    if (bytes[at] === BACKSLASH) return farEnd(bytes, from)
    if (bytes[at] === QUOTE) return at
  }
  return farEnd(bytes, from)
}

function farEnd(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(QUOTE, from); at !== -1; at = bytes.indexOf(QUOTE, at + 1)) {
    let slashes = 0
    while (at - 1 - slashes >= from && bytes[at - 1 - slashes] === BACKSLASH) slashes++
    if (slashes % 2 === 0) return at
  }
  return -1
}

/** The end of a number or a word: letters, digits and what stands in numbers. */
function wordEnd(bytes: Buffer, from: number): number {
  let at = from
  for (; at < bytes.length; at++) {
    const byte = bytes[at]! | 0x20
    const isLetter = byte >= 0x61 && byte <= 0x7a
    const isNumber = bytes[at]! >= 0x2b && bytes[at]! <= 0x39 && bytes[at] !== COMMA
    if (!isLetter && !isNumber) break
  }
  return at
}

/** A string in which nothing is escaped; null otherwise, and for one of more than `bytesMax`. */
export function plainText(bytes: Buffer, value: FlatValue, bytesMax: number): string | null {
  const { start, end, isString } = value
  if (!isString || end - start > bytesMax) return null
  for (let at = start; at < end; at++) if (bytes[at] === BACKSLASH) return null
  return bytes.toString('utf8', start, end)
}

/** 1 for each byte that stands in base64 of either alphabet (RFC 4648 §4, §5), padding among them. */
const BASE64 = new Uint8Array(256)
for (const byte of Buffer.from(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=',
)) {
  BASE64[byte] = 1
}

/** Whether a value is a string of nothing but base64. */
export function isBase64(bytes: Buffer, { start, end, isString }: FlatValue): boolean {
  for (let at = start; at < end; at++) if (BASE64[bytes[at]!] === 0) return false
  return isString
}
