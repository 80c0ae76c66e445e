import { type Problem, visible } from './problem.ts'

/**
 * Sections whose lines are shown: no key in them takes a secret. What was mistyped elsewhere may be
 * one, and messages end up in logs.
 */
const SHOWN = new Set([
  'version',
  'listen',
  'limits',
  'prices',
  'defaults',
  'operations',
  'sets',
  'aliases',
  'policies',
  'exceptions',
  'tests',
  'candidate',
  'maximums',
  'timeouts',
  'look_alikes',
])
/** What is shown of a longer line, UTF-16 units before and behind the place. */
const BEFORE_MAX = 72
const BEHIND_MAX = 24
const MORE = '…'

/** Characters of two columns (UAX #11, W and F, near enough) and of none. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u
const NONE = /\p{M}/u

/**
 * The line of a problem with a caret below its place, as two lines of a terminal; '' where the line is
 * not to be shown, or the place is the whole file.
 */
export function excerpt(text: string, { line, column }: Problem): string {
  const lines = text.split('\n')
  const found = lines[line - 1]?.replace(/\r$/, '')
  if (found === undefined || found.trim() === '' || !isShown(lines, line - 1)) return ''
  const at = Math.min(column - 1, found.length)
  const from = whole(found, at > BEFORE_MAX ? at - BEFORE_MAX : 0)
  const to = whole(found, Math.min(found.length, at + BEHIND_MAX + Math.max(0, BEFORE_MAX - at)))
  const before = (from > 0 ? MORE : '') + shown(found.slice(from, at))
  const behind = shown(found.slice(at, to)) + (to < found.length ? MORE : '')
  const margin = `  ${line} | `
  const gap = `${' '.repeat(margin.length - 2)}| ${' '.repeat(columnsOf(before))}`
  return `${margin}${before}${behind}\n${gap}^\n`
}

/** Whether the section that the line stands in is one of `SHOWN`, and nothing else stands in it. */
function isShown(lines: readonly string[], index: number): boolean {
  for (let at = index; at >= 0; at--) {
    const key = /^["']?([\w-]+)["']?\s*:/.exec(lines[at] ?? '')?.[1]
    if (key !== undefined) return SHOWN.has(key)
    if (/^[^\s#-]/.test(lines[at] ?? '')) return false
  }
  return false
}

/** Not between the halves of a surrogate pair. */
function whole(text: string, at: number): number {
  const unit = text.charCodeAt(at)
  return unit >= 0xdc00 && unit < 0xe000 ? at - 1 : at
}

/** As a terminal takes it: a tab is a space, what it would obey or hide is written out. */
function shown(text: string): string {
  const plain = text.replaceAll('\t', ' ').replaceAll(/\p{Cc}/gu, '\ufffd')
  return visible(plain)
}

function columnsOf(text: string): number {
  let columns = 0
  for (const character of text) columns += NONE.test(character) ? 0 : WIDE.test(character) ? 2 : 1
  return columns
}
