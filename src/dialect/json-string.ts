/** Byte classes and the string escapes of RFC 8259 §7, stricter by one rule: no lone surrogates. */
import { bodyInvalid } from './json-tape.ts'

/** Classes of a byte inside a string, as `STRING_CLASS` has them. */
export const PLAIN = 0
export const QUOTE = 1
export const BACKSLASH = 2
export const CONTROL = 3
export const NON_ASCII = 4

/** Class of each byte inside a string. */
export const STRING_CLASS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte === 0x22) return QUOTE
  if (byte === 0x5c) return BACKSLASH
  if (byte < 0x20) return CONTROL
  return byte > 0x7f ? NON_ASCII : PLAIN
})

/** Value of each hexadecimal digit; 255 for every other byte. */
const HEX = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = '0123456789abcdef'.indexOf(String.fromCharCode(byte).toLowerCase())
  return digit < 0 ? 255 : digit
})

/** The characters that may follow a backslash, `u` apart. */
const SHORT_ESCAPES = new Set(Buffer.from('"\\/bfnrt'))

/** Length in bytes of the escape (or pair of surrogate escapes) whose backslash is at `at`. */
export function escapeBytes(bytes: Buffer, at: number): number {
  const letter = bytes[at + 1]
  if (letter === undefined) throw bodyInvalid(at, 'the body ends inside a string')
  if (letter !== 0x75) {
    if (SHORT_ESCAPES.has(letter)) return 2
    throw bodyInvalid(at, 'an escape that JSON does not know')
  }
  const unit = codeUnit(bytes, at)
  if (unit < 0xd800 || unit > 0xdfff) return 6
  const paired = unit < 0xdc00 && bytes[at + 6] === 0x5c && bytes[at + 7] === 0x75
  const low = paired ? codeUnit(bytes, at + 6) : 0
  if (low >= 0xdc00 && low <= 0xdfff) return 12
  throw bodyInvalid(at, 'half of a surrogate pair')
}

/** The UTF-16 code unit of the `\uXXXX` at `at`. */
function codeUnit(bytes: Buffer, at: number): number {
  let unit = 0
  for (let digit = at + 2; digit < at + 6; digit++) {
    const value = HEX[bytes[digit] ?? 0] ?? 255
    if (value === 255) throw bodyInvalid(at, 'a \\u escape without four hexadecimal digits')
    unit = unit * 16 + value
  }
  return unit
}
