import type { Scalar } from 'yaml'

/**
 * Where in the file a character of a scalar stands. YAML folds, indents and escapes, but all of that
 * touches white space only, escapes apart: so the characters that are not white space are the same on
 * both sides, in the same order.
 */

/** A character of the value, and where the file says it. */
interface Unit {
  readonly text: string
  readonly at: number
}

const WHITE = /\s/

/**
 * The offset in `file` of UTF-16 unit `offset` of the value of `node`. White space is placed at what
 * follows it, the end of the value behind its last character. The start of the node when the value is
 * not what the file says, as after a substitution.
 */
export function sourceOffset(file: string, node: Scalar, offset: number): number {
  const [start, end] = node.range ?? [0, 0]
  const value = typeof node.value === 'string' ? node.value : ''
  const units = [...unitsOf(file, node, { start, end })].filter(({ text }) => !WHITE.test(text))
  if (units.map(({ text }) => text).join('') !== value.replace(/\s/g, '')) return start
  const before = value.slice(0, offset).replace(/\s/g, '').length
  let seen = 0
  for (const { text, at } of units) {
    if (seen >= before && value.slice(offset).trim() !== '') return at
    seen += text.length
  }
  const last = units.at(-1)
  return last === undefined ? start : Math.min(endOf(file, node, last), end)
}

/** Just behind the last unit, which is longer in the file than in the value when it is escaped. */
function endOf(file: string, { type }: Scalar, { at }: Unit): number {
  if (type === 'QUOTE_DOUBLE' && file[at] === '\\') return at + escapeAt(file, at).length
  return at + (type === 'QUOTE_SINGLE' && file[at] === "'" ? 2 : 1)
}

function unitsOf(
  file: string,
  { type }: Scalar,
  { start, end }: { readonly start: number; readonly end: number },
): Iterable<Unit> {
  if (type === 'QUOTE_DOUBLE') return doubleQuoted(file, start + 1, end - 1)
  if (type === 'QUOTE_SINGLE') return singleQuoted(file, start + 1, end - 1)
  if (type === 'BLOCK_LITERAL' || type === 'BLOCK_FOLDED') {
    const header = file.indexOf('\n', start)
    return plain(file, header === -1 ? end : header, end)
  }
  return plain(file, start, end)
}

function* plain(file: string, start: number, end: number): Generator<Unit> {
  for (let at = start; at < end; at++) yield { text: file.charAt(at), at }
}

function* singleQuoted(file: string, start: number, end: number): Generator<Unit> {
  for (let at = start; at < end; at++) {
    yield { text: file.charAt(at), at }
    if (file.startsWith("''", at)) at++
  }
}

function* doubleQuoted(file: string, start: number, end: number): Generator<Unit> {
  for (let at = start; at < end;) {
    if (file[at] !== '\\') {
      yield { text: file.charAt(at), at }
      at++
      continue
    }
    const { text, length } = escapeAt(file, at)
    for (const unit of text.split('')) yield { text: unit, at }
    at += length
  }
}

/** Escapes of YAML 1.2 (5.7) that stand for a printable character; all others are white space here. */
const SHORT: Readonly<Record<string, string>> = {
  '0': '\0',
  a: '\x07',
  b: '\b',
  e: '\x1b',
  '"': '"',
  '/': '/',
  '\\': '\\',
}
const DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 }

function escapeAt(file: string, at: number): { readonly text: string; readonly length: number } {
  const kind = file[at + 1] ?? ''
  const digits = DIGITS[kind]
  if (digits === undefined) return { text: SHORT[kind] ?? ' ', length: 2 }
  const point = Number.parseInt(file.slice(at + 2, at + 2 + digits), 16)
  const text = point <= 0x10ffff ? String.fromCodePoint(point) : ' '
  return { text, length: 2 + digits }
}
