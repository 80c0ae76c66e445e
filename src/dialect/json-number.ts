/** Numbers of RFC 8259 §6. */
import { bodyInvalid } from './json-tape.ts'

/** No field of any provider needs more; a longer one is a parser's problem, not a number. */
export const NUMBER_BYTES_MAX = 256

/** Byte after the number that begins at `start`. */
export function numberEnd(bytes: Buffer, start: number): number {
  let at = bytes[start] === 0x2d ? start + 1 : start
  const leadingZero = bytes[at] === 0x30
  const whole = at
  at = digits(bytes, at)
  if (leadingZero && at > whole + 1) throw bodyInvalid(start, 'a number with a leading zero')
  if (bytes[at] === 0x2e) at = digits(bytes, at + 1)
  if (bytes[at] === 0x65 || bytes[at] === 0x45) {
    const sign = bytes[at + 1]
    at = digits(bytes, sign === 0x2b || sign === 0x2d ? at + 2 : at + 1)
  }
  if (at - start > NUMBER_BYTES_MAX) {
    throw bodyInvalid(start, `a number longer than ${NUMBER_BYTES_MAX} characters`)
  }
  return at
}

/** Byte after the digits that begin at `start`; at least one, and no more than are looked at. */
function digits(bytes: Buffer, start: number): number {
  let at = start
  while (at - start <= NUMBER_BYTES_MAX && isDigit(bytes[at])) at++
  if (at > start) return at
  throw bodyInvalid(start, 'a digit is missing', 'NaN, Infinity and hexadecimal are not JSON.')
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}
