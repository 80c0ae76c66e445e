import { beginsAt, type Detector, isWord } from './detector.ts'

/** Digits of an account number by ISO/IEC 7812 issuer prefix, as issued today: first, last, lengths. */
const ISSUERS: readonly (readonly [number, number, readonly number[]])[] = [
  [300_000, 305_999, [14, 16]], // Diners Club
  [309_500, 309_599, [14, 16]],
  [340_000, 349_999, [15]], // American Express
  [352_800, 358_999, [16, 17, 18, 19]], // JCB
  [360_000, 369_999, [14, 15, 16, 17, 18, 19]], // Diners Club
  [370_000, 379_999, [15]], // American Express
  [380_000, 399_999, [14, 16]], // Diners Club
  [400_000, 499_999, [13, 16, 19]], // Visa
  [222_100, 272_099, [16]], // Mastercard
  [510_000, 559_999, [16]],
  [500_000, 509_999, [13, 14, 15, 16, 17, 18, 19]], // Maestro, Elo
  [560_000, 599_999, [13, 14, 15, 16, 17, 18, 19]], // Maestro
  [601_100, 601_199, [16, 17, 18, 19]], // Discover
  [620_000, 629_999, [16, 17, 18, 19]], // UnionPay
  [600_000, 601_099, [13, 16, 19]], // Maestro, RuPay
  [606_000, 606_999, [16]], // RuPay, Hipercard
  [630_000, 639_999, [13, 14, 15, 16, 17, 18, 19]], // Maestro, Discover
  [644_000, 659_999, [16, 17, 18, 19]], // Discover, RuPay
  [670_000, 679_999, [13, 14, 15, 16, 17, 18, 19]], // Maestro
  [810_000, 819_999, [16, 17, 18, 19]], // UnionPay, RuPay
  [220_000, 220_499, [16, 17, 18, 19]], // Mir
]

/** How the digits are grouped on cards and by people. */
const BY_FOUR: readonly RegExp[] = [
  /\d{4}([-. /_]| - | {2})(?:\d{4}\1\d{4}\1\d{1,4}|\d{6}\1\d{4,5}|\d{5}\1\d{6}|\d{3}\1\d{3}\1\d{3})(?!\d)/y,
  /\d{4}([-. /_]| - | {2})\d{4}\1\d{4}\1\d{4}\1\d{1,3}(?!\d)/y,
]
const OTHERWISE: readonly RegExp[] = [/(?:\d{6}([-. ])\d{13}|\d{8}([-. ])\d{8})(?!\d)/y]
/** No issuer has 0, 1, 7 or 9. */
const BEGINS = /[2-68]/
const DIGITS_MIN = 13
const DIGITS_MAX = 19

/** Powers of two and decimals of constants that pass for cards: 2^52, 2^53 and their neighbours. */
const CONSTANTS: ReadonlySet<string> = new Set(['4503599627370496', '4503599627370495'])

/** Payment card numbers: issuer prefix, length and Luhn's check digit (ISO/IEC 7812-1 annex B). */
export const creditCard: Detector = {
  id: 'credit_card',
  charsMax: DIGITS_MAX + 12,
  atNumbers(text, run, found) {
    let first = 0
    let done = 0
    for (let i = 0; i < run.count; i++) {
      const start = run.start(i)
      const length = run.end(i) - start
      const end =
        length >= DIGITS_MIN ? inARow(text, start, run.end(i)) : grouped(text, start, length)
      if (end === null) continue
      if (start >= done) {
        if (done > first) found(first, done)
        first = start
      }
      // Groups before a card may pass for the beginning of one: then both are one value, to its end.
      done = Math.max(done, end)
    }
    if (done > first) found(first, done)
  },
}

function inARow(text: string, start: number, end: number): number | null {
  if (end - start > DIGITS_MAX || !stands(text, start) || /^\.\d/.test(text.slice(end, end + 2))) {
    return null
  }
  return endsWell(text, end) && isCard(text.slice(start, end)) ? end : null
}

/** Where the card that begins at `start` ends; null when none does. */
function grouped(text: string, start: number, length: number): number | null {
  if (!mayBegin(length, text.charAt(start)) || !stands(text, start)) return null
  for (const grouping of length === 4 ? BY_FOUR : OTHERWISE) {
    grouping.lastIndex = start
    const value = grouping.exec(text)?.[0]
    if (value === undefined) continue
    const end = start + value.length
    if (passesLuhn(value) && endsWell(text, end) && isCard(value.replace(/\D/g, ''))) return end
  }
  return null
}

function mayBegin(length: number, digit: string): boolean {
  return (length === 4 || length === 6 || length === 8) && BEGINS.test(digit)
}

function endsWell(text: string, end: number): boolean {
  return !isWord(text, end) || text.charAt(end) === '_'
}

function isCard(digits: string): boolean {
  return isIssued(digits) && passesLuhn(digits) && !isMonotone(digits) && !CONSTANTS.has(digits)
}

/** Not the tail of a decimal fraction, of an identifier, or of a longer number. */
function stands(text: string, start: number): boolean {
  const before = text.charAt(start - 1)
  if (before === '.' || before === '+')
    return !/[\d]/.test(text.charAt(start - 2)) && before !== '+'
  return beginsAt(text, start) || (before === '_' && !/\d/.test(text.charAt(start - 2)))
}

function isIssued(digits: string): boolean {
  const prefix = Number(digits.slice(0, 6))
  return ISSUERS.some(
    ([first, last, lengths]) =>
      prefix >= first && prefix <= last && lengths.includes(digits.length),
  )
}

/** Whether the number is one or two digits again and again, which nobody was issued. */
function isMonotone(digits: string): boolean {
  return new Set(digits).size < 2
}

/** The weighted sum of Luhn's check over the digits of `value`, every second one from the right doubled. */
function passesLuhn(value: string): boolean {
  let sum = 0
  let isSecond = false
  for (let i = value.length - 1; i >= 0; i--) {
    const digit = value.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) continue
    const weighted = isSecond ? digit * 2 : digit
    sum += weighted > 9 ? weighted - 9 : weighted
    isSecond = !isSecond
  }
  return sum % 10 === 0
}
