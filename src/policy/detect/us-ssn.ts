import { beginsAt, type Detector, isLetter, endsAt, type Match } from './detector.ts'

const GROUPED = /\d{3}([-. /]| - )\d\d\1\d{4}(?!\d)/y

/**
 * US social security numbers by the rules of the SSA: area not 000, 666 or 900–999, group not 00,
 * serial not 0000. Grouped 3-2-4 with the same separator twice; nine digits in a row only where the
 * words before say what they are, for they might be anything.
 */
export const usSsn: Detector = {
  id: 'us_ssn',
  charsMax: 15,
  atNumbers(text, run, found) {
    for (let i = 0; i < run.count; i++) {
      const length = run.end(i) - run.start(i)
      if (length !== 3 && length !== 9) continue
      const match = length === 9 ? inARow(text, run.start(i)) : grouped(text, run.start(i))
      if (match !== null) found(match.start, match.end)
    }
  },
}

function inARow(text: string, start: number): Match | null {
  const end = start + 9
  if (!isValid(text.slice(start, end)) || !stands(text, start, end)) return null
  return saysSo(text, start) ? { start, end } : null
}

function grouped(text: string, start: number): Match | null {
  GROUPED.lastIndex = start
  const [value, separator = ''] = GROUPED.exec(text) ?? []
  if (value === undefined || !isValid(value.replace(/\D/g, ''))) return null
  const end = start + value.length
  if (!stands(text, start, end) || continues(text, separator, { start, end })) return null
  const isClear = separator.includes('-') || isAlone(text, separator, { start, end })
  return isClear || saysSo(text, start) ? { start, end } : null
}

function isValid(digits: string): boolean {
  return /^(?!000|666|9)\d{3}(?!00)\d\d(?!0000)\d{4}$/.test(digits) && !/^(\d)\1+$/.test(digits)
}

function stands(text: string, start: number, end: number): boolean {
  return beginsAt(text, start) && endsAt(text, end) && !/[.+]/.test(text.charAt(start - 1))
}

/** Whether more digits follow or precede with the same separator: a table or a longer number. */
function continues(text: string, separator: string, { start, end }: Match): boolean {
  const before = text.slice(Math.max(0, start - separator.length - 1), start)
  const after = text.slice(end, end + separator.length + 1)
  return (
    (before.endsWith(separator) && /^\d/.test(before)) ||
    (after.startsWith(separator) && /\d$/.test(after))
  )
}

/** Separators that also part other numbers count only where no number is near. */
function isAlone(text: string, separator: string, { start, end }: Match): boolean {
  if (separator === '/') return false
  const around = text.slice(Math.max(0, start - 8), start) + text.slice(end, end + 8)
  return !/\d|[-+*,[\]]/.test(around)
}

const WORDS =
  /\bssn|social[\s_-]{0,2}sec(?:urity)?|\bsoc[\s_-]?sec|\bss#|tax[\s_-]?(?:payer)?[\s_-]?id|\btin\b|\bitin/i

/** Whether the 40 characters before name the number. */
function saysSo(text: string, start: number): boolean {
  let letter = start - 1
  while (letter >= 0 && start - letter < 8 && !isLetter(text.charCodeAt(letter))) letter--
  if (letter < 0 || start - letter >= 8) return false
  return WORDS.test(text.slice(Math.max(0, start - 40), start))
}
