import { isUtf8 } from 'node:buffer'

import { isHexDigit } from './decode-escapes.ts'
import { normaliseText } from './normalise.ts'

/**
 * Runs of base64 (RFC 4648 §4 and §5, padded or not, wrapped as MIME does) and of hexadecimal digits,
 * taken for such only where the bytes they stand for are text: UTF-8 without control characters.
 */

/** Shorter ones are words like any other. */
const BYTES_MIN = 4
/** Units of base64 that are decoded one by one before all of it is: of a random run hardly any is text. */
const QUICK_UNITS = 16
const CONTROLS = /[\p{Cc}--[\t-\r\x80-\x9f]]/v
/** Letters, digits and spaces are most of a text; of a short one that is asked. */
const LETTERS = /[\p{L}\p{M}\p{N}\s]/gu
const SHORT_MAX = 16
/** Least units of hexadecimal digits. */
const HEX_MIN = 2 * BYTES_MIN
/** Least units of base64, `emV1cw` for `zeus`. */
export const BASE64_MIN = 6

const ZERO = 0x30
const CROSS = 0x78

const SEXTETS = sextets()

function sextets(): Uint8Array {
  const table = new Uint8Array(128)
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  for (let value = 0; value < 64; value++) table[digits.charCodeAt(value)] = value
  table[0x2d] = 62
  table[0x5f] = 63
  return table
}

/** A part of a text that stands for other text; UTF-16 units, end exclusive. */
export interface Run {
  readonly start: number
  readonly end: number
  readonly text: string
}

/**
 * What `[start, end)` stands for, digits of base64 and line ends between long lines of them; null where
 * that is no text. Linear in the run.
 */
export function runIn(text: string, start: number, end: number): Run | null {
  let first = start
  // No text begins with the last two digits of base64.
  while (first < end && (SEXTETS[text.charCodeAt(first)] ?? 0) > 61) first++
  return runAt(text, first, end)
}

function runAt(text: string, start: number, end: number): Run | null {
  if (end - start < BASE64_MIN) return null
  const digits = hexDigits(text, start, end)
  if (digits !== -1) {
    const read = textOf(Buffer.from(text.slice(digits, end), 'hex'))
    if (read !== null) return { start, end, text: read }
  }
  if (!mayRead(text, start, end)) return null
  const run = text.slice(start, end)
  const units = run.includes('\n') ? run.replaceAll(/\s/g, '').length : run.length
  const read = units % 4 === 1 ? null : textOf(Buffer.from(run, 'base64'))
  return read === null ? null : { start, end: end + padding(text, end), text: read }
}

/** Whether `[start, end)` may be a text in base64 or in hexadecimal digits, told from its beginning. */
export function mayBeRunOf(text: string, start: number, end: number): boolean {
  let first = start
  while (first < end && (SEXTETS[text.charCodeAt(first)] ?? 0) > 61) first++
  if (end - first < BASE64_MIN) return false
  return mayRead(text, first, end) || hexDigits(text, first, end) !== -1
}

/** Behind `0x` or `x`, where it begins so. */
function digitsFrom(text: string, start: number): number {
  const cross = text.charCodeAt(start) === ZERO ? start + 1 : start
  return (text.charCodeAt(cross) | 0x20) === CROSS ? cross + 1 : start
}

/** Where the digits begin of a hexadecimal number that is whole bytes; -1 where it is none. */
function hexDigits(text: string, start: number, end: number): number {
  const first = digitsFrom(text, start)
  if (end - first < HEX_MIN || (end - first) % 2 !== 0) return -1
  for (let at = first; at < end; at++) if (!isHexDigit(text.charCodeAt(at))) return -1
  return first
}

/** What hexadecimal digits stand for; null where it is no text. */
export function hexText(digits: string): string | null {
  return textOf(Buffer.from(digits, 'hex'))
}

function textOf(bytes: Buffer): string | null {
  if (bytes.length < BYTES_MIN || !isUtf8(bytes)) return null
  const text = bytes.toString('utf8')
  return CONTROLS.test(text) || !isLikely(text) ? null : text
}

/** A few bytes of a word that is no code are UTF-8 by chance, but hardly ever letters. */
function isLikely(text: string): boolean {
  if (text.length >= SHORT_MAX) return true
  const reads = normaliseText(text)
  const letters = reads.match(LETTERS)?.length ?? 0
  return letters * 3 >= reads.length * 2
}

function padding(text: string, end: number): number {
  if (text.charCodeAt(end) !== 0x3d) return 0
  return text.charCodeAt(end + 1) === 0x3d ? 2 : 1
}

/** Whether the beginning of a run may be that of a text in base64. */
export function mayRead(text: string, start: number, end: number): boolean {
  const count = Math.min(end - start, QUICK_UNITS)
  return mayReadUnits(
    Uint16Array.from({ length: count }, (_, at) => text.charCodeAt(start + at)),
    0,
    count,
  )
}

/** The same of units in hand. */
export function mayReadUnits(units: Uint16Array, start: number, end: number): boolean {
  const to = Math.min(end, start + QUICK_UNITS)
  let held = 0
  let bits = 0
  let more = 0
  for (let at = start; at < to; at++) {
    held = ((held << 6) | (SEXTETS[units[at]!] ?? 0)) & 0x3fff
    bits += 6
    if (bits < 8) continue
    bits -= 8
    more = expected(more, (held >> bits) & 0xff)
    if (more < 0) return false
  }
  return true
}

/** Bytes that have to follow `byte` in UTF-8, of which `more` were expected; -1 where that is no text. */
function expected(more: number, byte: number): number {
  if (more > 0) return (byte & 0xc0) === 0x80 ? more - 1 : -1
  if (byte < 0x80) return byte >= 0x20 || (byte >= 9 && byte <= 13) ? 0 : -1
  if (byte < 0xc2 || byte > 0xf4) return -1
  if (byte < 0xe0) return 1
  return byte < 0xf0 ? 2 : 3
}
