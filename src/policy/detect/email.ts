import { SPACELESS } from '../word-boundary.ts'
import {
  type Detector,
  isAlphanumeric,
  isDigit,
  isLetter,
  type Match,
  runEnd,
  unitsOf,
} from './detector.ts'

/** RFC 5321 §4.5.3.1: 64 octets of local part, 255 of domain. */
const LOCAL_MAX = 64
const DOMAIN_MAX = 255
const LABEL_MAX = 63
/** How far behind ` at ` a ` dot ` counts. */
const SPELLED_MAX = 90

/** Names of files with a scale, `icon@2x.png`, and of packages are the usual impostors. */
const NOT_DOMAINS =
  /\.(?:png|jpe?g|gif|svg|webp|ico|css|js|mjs|cjs|ts|tsx|jsx|json|map|html?|rb|php|java|txt|xml|ya?ml|lock|tgz|gz|min)$/i

/**
 * E-mail addresses: an unquoted local part and a domain with a top-level name of letters (RFC 5322
 * §3.4.1 without comments and literals). The sign may be `@`, `%40`, `&#64;`, `[at]` or `(at)`.
 */
export const email: Detector = {
  id: 'email',
  charsMax: LOCAL_MAX + 8 + DOMAIN_MAX,
  charsBefore: LOCAL_MAX + 2,
  isOver(text, start, literal) {
    const after = text.slice(start + literal.length, start + literal.length + SPELLED_MAX)
    return literal === ' at ' && after.length === SPELLED_MAX && !after.includes(' dot ')
  },
  literals: ['@', '%40', '&#64;', '[at]', '(at)', ' at '],
  atLiteral(text, start, literal) {
    const isSign = literal === '@' || literal === '%40' || literal === '&#64;'
    return isSign ? signed(text, start, literal) : spelled(text, start, literal)
  },
}

function signed(text: string, start: number, sign: string): Match | null {
  const from = start + sign.length
  if (!isTopUnit(text.charCodeAt(from))) return null
  const end = domainEndOf(text, from) ?? spelledDomainEndOf(text, from)
  if (end === null) return null
  const first = localStartOf(text, start)
  return first === null || isRemote(text, first, end) ? null : { start: first, end }
}

/** `name [at] example.com`, `name at example dot com`. */
function spelled(text: string, start: number, sign: string): Match | null {
  const after = start + sign.length
  if (sign === ' at ' && !text.slice(after, after + SPELLED_MAX).includes(' dot ')) return null
  const from = skipBlanks(text, after, 1)
  const end = (sign === ' at ' ? null : domainEndOf(text, from)) ?? spelledDomainEndOf(text, from)
  const first = end === null ? null : localStartOf(text, skipBlanks(text, start, -1))
  return end === null || first === null ? null : { start: first, end }
}

function skipBlanks(text: string, at: number, step: 1 | -1): number {
  let place = at
  for (let i = 0; i < 2; i++) {
    if (text.charAt(step === 1 ? place : place - 1) === ' ') place += step
  }
  return place
}

/** RFC 5322 atext without the marks that in practice end an address: quotes, braces, `|`, `` ` ``, `/`. */
function isLocal(unit: number): boolean {
  return (
    isAlphanumeric(unit) || unit > 0xa0 || "._%+-!#$&'*=?^~".includes(String.fromCharCode(unit))
  )
}

const LEADING = /^[^A-Za-z0-9_\u00a1-\uffff]+/

/** Where the local part that ends at `end` starts; null when there is none. */
function localStartOf(text: string, end: number): number | null {
  let start = end
  while (start > 0 && end - start < LOCAL_MAX && isLocal(text.charCodeAt(start - 1))) start--
  const cut = /^.*(?:mailto%3A|[?&]\w{1,24}=|=|%(?:2[0CF]|3[ACDE]|22|0A))/is.exec(
    text.slice(start, end),
  )
  if (cut !== null) start += cut[0].length
  const lead = LEADING.exec(text.slice(start, end))
  if (lead !== null) start += lead[0].length
  start += foreignTo(text.slice(start, end))
  if (start > 0 && text.charAt(start - 1) === '\\' && /[nrt]/.test(text.charAt(start))) start++
  const local = text.slice(start, end)
  if (local === '' || local.endsWith('.') || local.includes('..')) return null
  return start
}

const BEYOND_ASCII = /[^\0-\x7f]/
/** Up to the last character that is no letter, digit or mark of a local part: a picture, an arrow, a quote. */
const NO_LOCAL = /^.*[^\p{L}\p{M}\p{N}._%+\-!#$&'*=?^~]/su
/** What stands directly before an address in a script without spaces. */
const BEFORE_ADDRESS = new RegExp(`^.*[${SPACELESS}](?=[^${SPACELESS}]*$)`, 'su')

/** How much of what stands before the sign is text around the address, which may have no space. */
function foreignTo(local: string): number {
  if (!BEYOND_ASCII.test(local)) return 0
  const marked = NO_LOCAL.exec(local)?.[0].length ?? 0
  const rest = local.slice(marked)
  const before = BEFORE_ADDRESS.exec(rest)?.[0].length ?? 0
  return marked + (before === rest.length ? 0 : before)
}

const DOT = 0x2e
const HYPHEN = 0x2d
/** A dot to those who look names up (UTS #46), where none of ASCII is. */
const IDEOGRAPHIC_DOT = 0x3002
const LETTER = /[\p{L}\p{M}\p{N}]/u

function isDomainUnit(unit: number): boolean {
  if (unit < 0x80) return isAlphanumeric(unit) || unit === HYPHEN
  return isSurrogate(unit) || (unit > 0xa0 && LETTER.test(String.fromCharCode(unit)))
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xe000
}

/** Where labels and the dots between them end. */
function labelsEndOf(text: string, start: number): number {
  const last = Math.min(text.length, start + DOMAIN_MAX)
  let hasDot = false
  let end = start
  for (; end < last; end++) {
    const unit = text.charCodeAt(end)
    if (isDomainUnit(unit)) continue
    const next = text.charCodeAt(end + 1)
    const isDot = unit === DOT || (unit === IDEOGRAPHIC_DOT && !hasDot && isLetter(next))
    if (!isDot || next === DOT) break
    hasDot = true
  }
  return end
}

/** Where the domain that starts at `start` ends; null when it is none. */
function domainEndOf(text: string, start: number): number | null {
  let end = labelsEndOf(text, start)
  while (end > start && !isTopUnit(text.charCodeAt(end - 1))) end--
  const last = lastLabelIn(text, start, end)
  if (last === -1 || end - last < TOP_MIN) return null
  const labels = text.slice(start, end).split(/[.\u3002]/)
  const top = labels.at(-1) ?? ''
  const topLength = topLengthOf(top)
  end -= top.length - topLength
  const domain = text.slice(start, end)
  if (topLength === 0 || NOT_DOMAINS.test(domain)) return null
  const fine = labels.every(
    (label) => label !== '' && label.length <= LABEL_MAX && !label.startsWith('-'),
  )
  return fine && !(isDigit(domain.charCodeAt(0)) && /^\dx\./.test(domain)) ? end : null
}

/** Where the last label from `start` to `end` starts; -1 where it is the only one. */
function lastLabelIn(text: string, start: number, end: number): number {
  for (let at = end - 1; at >= start; at--) {
    const unit = text.charCodeAt(at)
    if (unit === DOT || unit === IDEOGRAPHIC_DOT) return at + 1
  }
  return -1
}

function isTopUnit(unit: number): boolean {
  return isLetter(unit) || unit > 0xbf || isDigit(unit)
}

const TOP_MIN = 2
const TOP = /^(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59}|[^\0-\xbf]{2,24})$/
/** Letters that something else follows directly, which no space or a dash parts from them. */
const TOP_BEFORE = /^(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24})(?=[^\0-\xbf]|-)/

/** How much of a last label is a top-level name; 0 where none is. */
function topLengthOf(top: string): number {
  return TOP.test(top) ? top.length : (TOP_BEFORE.exec(top)?.[0].length ?? 0)
}

const SPELLED =
  /([\w-]{1,63})(?: ?[[(]dot[\])] ?| dot |\.)([\w-]{1,63}(?:(?: ?[[(]dot[\])] ?| dot |\.)[a-z]{2,24}){0,2})/iy
const isNameUnit = unitsOf(/[\w-]/)
const isDotSignUnit = unitsOf(/[ [(.]/)
const WELL_KNOWN_TOP = /(?:^|[.\s)\]])(?:com|org|net|edu|gov|io|dev|co|uk|de|fr|eu|info|app|ai)$/i

/** `example [dot] com`; where even the sign is a word, only under well-known top-level names. */
function spelledDomainEndOf(text: string, start: number): number | null {
  const name = runEnd(text, start, LABEL_MAX, isNameUnit)
  const sign = text.charCodeAt(name)
  if (name === start || !isDotSignUnit(sign)) return null
  if (sign === DOT && !isNameUnit(text.charCodeAt(name + 1))) return null
  SPELLED.lastIndex = start
  const found = SPELLED.exec(text)
  if (found === null || !/dot/i.test(found[0]) || !WELL_KNOWN_TOP.test(found[0])) return null
  return start + found[0].length
}

/** `git@host:path` and `scheme://user@host` are places, not addresses. */
function isRemote(text: string, start: number, end: number): boolean {
  if (/^:[\w~./-]*\//.test(text.slice(end, end + 40))) return true
  if (!/[:/]/.test(text.charAt(start - 1))) return false
  return /:\/\/[^\s/]*$/.test(text.slice(Math.max(0, start - 80), start))
}
