import { type Detector, isAlphanumeric, isDigit, isLetter, type Match, runEnd } from './detector.ts'

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
  if (start > 0 && text.charAt(start - 1) === '\\' && /[nrt]/.test(text.charAt(start))) start++
  const local = text.slice(start, end)
  if (local === '' || local.endsWith('.') || local.includes('..')) return null
  return start
}

function isDomainUnit(unit: number): boolean {
  return isAlphanumeric(unit) || unit === 0x2d || unit === 0x2e || unit > 0xa0
}

/** Where the domain that starts at `start` ends; null when it is none. */
function domainEndOf(text: string, start: number): number | null {
  let end = runEnd(text, start, DOMAIN_MAX, isDomainUnit)
  while (end > start && !isTopUnit(text.charCodeAt(end - 1))) end--
  const domain = text.slice(start, end)
  const labels = domain.split('.')
  const top = labels.at(-1) ?? ''
  if (labels.length < 2 || !isTop(top) || NOT_DOMAINS.test(domain)) return null
  const fine = labels.every(
    (label) => label !== '' && label.length <= LABEL_MAX && !label.startsWith('-'),
  )
  return fine && !(isDigit(domain.charCodeAt(0)) && /^\dx\./.test(domain)) ? end : null
}

function isTopUnit(unit: number): boolean {
  return isLetter(unit) || unit > 0xbf || isDigit(unit)
}

function isTop(top: string): boolean {
  return /^(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59}|[^\0-\xbf]{2,24})$/.test(top)
}

const SPELLED =
  /([\w-]{1,63})(?: ?[[(]dot[\])] ?| dot |\.)([\w-]{1,63}(?:(?: ?[[(]dot[\])] ?| dot |\.)[a-z]{2,24}){0,2})/iy
const WELL_KNOWN_TOP = /(?:^|[.\s)\]])(?:com|org|net|edu|gov|io|dev|co|uk|de|fr|eu|info|app|ai)$/i

/** `example [dot] com`; where even the sign is a word, only under well-known top-level names. */
function spelledDomainEndOf(text: string, start: number): number | null {
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
