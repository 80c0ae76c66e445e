import {
  beginsAt,
  type Detector,
  endsAt,
  isDigit,
  isEmphasisBefore,
  isEscapeBefore,
  isLetter,
  type Match,
  type NumberRun,
  runEnd,
} from './detector.ts'

/** E.164 §6.2.1: 15 digits at most, country code included; numbers in use have 8 or more. */
const DIGITS_MAX = 15
const DIGITS_MIN = 8
const CHARS_MAX = 40

/** Country calling codes, ITU-T E.164 list: of one and two digits, and the beginnings of those with three. */
const COUNTRY_CODE =
  /^(?:1|7|2(?:0|7|1[1-8]|[2-5]\d|6[0-9]|9[017-9])|3(?:[0-469]|[5]\d|7[0-9]|8[0-79])|4(?:[013-9]|2[013])|5(?:[1-8]|0\d|9\d)|6(?:[0-6]|[789]\d)|8(?:[1246]|[05]\d|7[08]|8[0-8])|9(?:[0-58]|6\d|7\d|9\d))/

/** Lengths of groups in numbers written with a trunk 0: France, UK, Germany, Netherlands, Australia, Japan, India … */
const TRUNK: ReadonlySet<string> = new Set(
  (
    '2-2-2-2-2 3-4-4 4-3-4 4-3-3 5-6 5-3-3 2-4-4 2-8 3-7 3-8 4-6 4-7 3-3-4 3-3-3 6-5 3-5 3-6 ' +
    '4-5 3-3-2-2 4-3-2-2 4-2-2-2 2-3-2-2 3-2-2-3 5-5 3-4-3 5-4 5-7 5-8 4-8 6-6'
  ).split(' '),
)

/** Telephone numbers: international (`+`, `00`), North American, national with a trunk 0, or named as such. */
export const phone: Detector = {
  id: 'phone',
  charsMax: CHARS_MAX,
  atNumbers(text, run, found) {
    let done = 0
    for (let i = 0; i < run.count; i++) {
      const from = run.start(i)
      if (from < done || !mayBegin(text, run, i)) continue
      const match =
        international(text, from) ??
        northAmerican(text, from) ??
        trunk(text, from) ??
        named(text, from)
      if (match === null) continue
      found(match.start, match.end)
      done = match.end
    }
  },
}

/** Most groups of digits cannot begin a number, by their length and what stands before them. */
function mayBegin(text: string, run: NumberRun, index: number): boolean {
  const start = run.start(index)
  const length = run.end(index) - start
  if (length >= 7 || isPlusBefore(text, start)) return true
  // A longer row of groups: its first one was asked already.
  const follows = isDigit(text.charCodeAt(start - 2)) && !isDigit(text.charCodeAt(start - 1))
  if (follows && (length === 1 || text.charCodeAt(start) === ZERO)) return false
  if (text.charCodeAt(start) === ZERO) return length > 1
  if (length === 3 && index + 2 < run.count) return true
  return (length === 1 && index + 3 < run.count) || isLetter(text.charCodeAt(start - 2))
}

function isPlusBefore(text: string, start: number): boolean {
  const before = text.charCodeAt(start - 1)
  return before === PLUS || (before === PARENTHESIS && text.charCodeAt(start - 2) === PLUS)
}

const PLUS = 0x2b
const PARENTHESIS = 0x28
const ZERO = 0x30

const BETWEEN = String.raw`(?: ?\(|\) ?-?|[-. /]| - |\) )`
const NEXT_GROUP = new RegExp(`(${BETWEEN})(\\d{1,14})`, 'y')

function international(text: string, from: number): Match | null {
  const start = prefixStart(text, from)
  if (start === null) return null
  const firstEnd = runEnd(text, from, DIGITS_MAX + 3, isDigit)
  const first = text.slice(start === from ? from + 2 : from, firstEnd)
  if (!COUNTRY_CODE.test(first)) return null
  const { digits, end } = withGroups(text, first, firstEnd)
  const isWhole = first.startsWith('1') ? digits.length === 11 : digits.length >= DIGITS_MIN
  const isRun = start === from && end === firstEnd
  if (!isWhole || isRun || digits.length > DIGITS_MAX || new Set(digits).size < 3) return null
  return stands(text, start, end) ? { start, end } : null
}

/** Adds groups while the number is not whole: up to what a number may have, then none in brackets, none of one digit. */
function withGroups(
  text: string,
  first: string,
  firstEnd: number,
): { digits: string; end: number } {
  const most = first.startsWith('1') ? 11 : DIGITS_MAX
  let digits = first
  let end = firstEnd
  while (digits.length < most) {
    NEXT_GROUP.lastIndex = end
    const [all = '', between = '', group = ''] = NEXT_GROUP.exec(text) ?? []
    const isEnough = digits.length >= 10 && (group.length < 2 || between.includes('('))
    if (group === '' || isEnough || digits.length + group.length > most) break
    digits += group
    end += all.length
  }
  return { digits, end }
}

/** Offset of `+`, `(+` or `00`; null when none of them begins the number. */
function prefixStart(text: string, from: number): number | null {
  if (/^00[1-9]/.test(text.slice(from, from + 3))) return from
  const plus = text.charCodeAt(from - 1) === PLUS ? from - 1 : from - 2
  const isPlus =
    text.charCodeAt(plus) === PLUS && (plus === from - 1 || text.charAt(from - 1) === '(')
  if (!isPlus) return null
  const goesOn = /[\w)\]+]/.test(text.charAt(plus - 1)) && !isEscapeBefore(text, plus)
  return goesOn && !isEmphasisBefore(text, plus) ? null : plus
}

const NORTH_AMERICAN =
  /(?:1[-. ]?)?(?:\([2-9]\d\d\)[- ]?[2-9]\d\d[-. ]|[2-9]\d\d-[2-9]\d\d-|[2-9]\d\d\.[2-9]\d\d\.|[2-9]\d\d [2-9]\d\d[- ]|[2-9]\d\d\/[2-9]\d\d-)\d{4}(?!\d)/y

/** (NPA) NXX-XXXX of the North American numbering plan, optionally behind a 1. */
function northAmerican(text: string, from: number): Match | null {
  const opens = text.charCodeAt(from - 1) === PARENTHESIS
  return (opens ? northAmericanAt(text, from - 1) : null) ?? northAmericanAt(text, from)
}

function northAmericanAt(text: string, start: number): Match | null {
  NORTH_AMERICAN.lastIndex = start
  const value = NORTH_AMERICAN.exec(text)?.[0]
  return value === undefined ? null : checked(text, start, value)
}

const TRUNK_SHAPE =
  /\(?0[1-9]\d{0,4}(?:\) ?|[-. /])\d{2,8}(?:([-. ])\d{2,4}(?:\1\d{2,4}){0,2})?(?!\d)/y

/** National numbers behind a trunk 0, by the lengths of their groups. */
function trunk(text: string, from: number): Match | null {
  if (text.charCodeAt(from) !== ZERO) return null
  const start = text.charCodeAt(from - 1) === PARENTHESIS ? from - 1 : from
  TRUNK_SHAPE.lastIndex = start
  const value = TRUNK_SHAPE.exec(text)?.[0]
  if (value === undefined) return null
  const groups = value.match(/\d+/g) ?? []
  const digits = groups.join('').length
  if (digits < 9 || digits > 12 || !TRUNK.has(groups.map(({ length }) => length).join('-')))
    return null
  if (value.includes('.') && groups.length < 5) return null
  return checked(text, start, value)
}

/** Whether a grouped number stands for itself: no table, no longer number, and with blanks no other number near. */
function checked(text: string, start: number, value: string): Match | null {
  const end = start + value.length
  if (!stands(text, start, end)) return null
  const separator = /\D(?=\d+$)/.exec(value)?.[0] ?? ''
  if (text.charAt(end) === separator && isDigit(text.charCodeAt(end + 1))) return null
  if (text.charAt(start - 1) === separator && isDigit(text.charCodeAt(start - 2))) return null
  const isBlank = separator === ' ' && !value.includes('(')
  return isBlank && !isLonely(text, start, end) ? null : { start, end }
}

/** Blanks part many numbers: no other number, and nothing of a path or a table, may be near. */
function isLonely(text: string, start: number, end: number): boolean {
  const before = text.slice(Math.max(0, start - 6), start)
  const after = text.slice(end, end + 6)
  return !/\d|[-[,*|]\s?$/.test(before) && !/^\s?[-\],*|]|\d/.test(after.replace(/^, /, ''))
}

/** Whether no word, decimal or identifier begins or goes on around the number. */
function stands(text: string, start: number, end: number): boolean {
  if (!beginsAt(text, start) || /[.$€£/]/.test(text.charAt(start - 1))) return false
  if (text.charAt(start - 1) === '-' && /\w/.test(text.charAt(start - 2))) return false
  const after = text.slice(end, end + 2)
  if (/^(?:\.\d|-\w|[%$€£]|\/\w)/.test(after)) return false
  // A decimal comma; behind a number with marks it parts the cells of a table.
  if (/^,\d/.test(after) && !/[-+().]/.test(text.slice(start, end))) return false
  return endsAt(text, end) || /^ ?x\d?/i.test(after)
}

const DIGITS = /\d{3,13}(?:[-. ]\d{2,8}){0,4}(?!\d)/y
const NAMED =
  /(?:phone|\btel|mobile|\bmob|\bcell|fax|whatsapp|\bsms|\bcall|\btext|\bdial|\bring|telefon|handy|m[oó]vil|n[uú]mero|contact)[a-zé]{0,9}(?:[ _-]?(?:number|num|no|nr|is|me|us|him|her|them|at|on|[.:='"#\\])){0,5}\s{0,2}["'(\\]{0,2}$/i

/** Digits that the words before call a number to dial. */
function named(text: string, from: number): Match | null {
  let letter = from - 1
  while (letter >= 0 && from - letter < 6 && !isLetter(text.charCodeAt(letter))) letter--
  if (letter < 0 || !isLetter(text.charCodeAt(letter))) return null
  DIGITS.lastIndex = from
  const value = DIGITS.exec(text)?.[0] ?? ''
  const digits = value.replace(/\D/g, '').length
  if (digits < 7 || digits > 13 || !stands(text, from, from + value.length)) return null
  const before = text.slice(Math.max(0, from - 40), from)
  return NAMED.test(before) ? { start: from, end: from + value.length } : null
}
