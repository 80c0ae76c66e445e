import { type Detector, entropyOf, isPlaceholder, type Match, runEnd, unitsOf } from './detector.ts'

const VALUE_MAX = 128
const CHARS_MAX = 512

/** A word for a secret, and whether people type it; what machines make has to look it. */
const NAMES: ReadonlyMap<string, 'typed' | 'made'> = new Map([
  ['password', 'typed'],
  ['passwd', 'typed'],
  ['passwort', 'typed'],
  ['kennwort', 'typed'],
  ['passphrase', 'typed'],
  ['passcode', 'typed'],
  ['pwd', 'typed'],
  ['contraseña', 'typed'],
  ['mot de passe', 'typed'],
  ['_pass', 'typed'],
  ['secret', 'made'],
  ['token', 'made'],
  ['api_key', 'made'],
  ['apikey', 'made'],
  ['api-key', 'made'],
  ['access_key', 'made'],
  ['accesskey', 'made'],
  ['private_key', 'made'],
  ['encryption_key', 'made'],
  ['credential', 'made'],
  ['authorization', 'made'],
])

/** Between name and value: the rest of the name, quotes, then a sign or a word for "is". */
const ASSIGNS =
  /[\w-]{0,24}(?:\\?["'`]|\]|\s{0,2}\))?(?:\s{0,4}(?:=>|:=|==?|:)\s{0,4}|\s(?:is|was|ist|es|est)(?:\s?:)?\s|>(?=[^<\s]{4,128}<\/)|\s(?=["'`]))(?:(?:Bearer|Basic)\s)?/iy
const CLI = /(?<=--[\w-]{0,16})[\w-]{0,16}[= ](?!-)/iy

/**
 * Passwords and other secrets where a name gives them away: assignments in code, JSON, YAML, shell,
 * XML and prose, and connection strings (RFC 3986 §3.2.1 userinfo). The match is the value.
 */
export const password: Detector = {
  id: 'password',
  charsMax: CHARS_MAX,
  charsBefore: 0,
  literals: [...NAMES.keys(), '://', 'basic '],
  atLiteral(text, start, literal) {
    const end = start + literal.length
    if (literal === '://') return userinfoAt(text, start, end)
    if (literal === 'basic ') return basicAt(text, end)
    const kind = NAMES.get(literal)
    return kind === undefined ? null : assignedAt(text, end, kind)
  },
}

function assignedAt(text: string, end: number, kind: 'typed' | 'made'): Match | null {
  ASSIGNS.lastIndex = end
  CLI.lastIndex = end
  const found = ASSIGNS.exec(text) ?? CLI.exec(text)
  if (found === null) return null
  const at = end + found[0].length
  const value = valueAt(text, at)
  if (value === null) return null
  const content = text.slice(value.start, value.end)
  const isSaid = / (?:is|was|ist|es|est)[ :]/i.test(found[0])
  const looks =
    kind === 'made'
      ? looksMade(content) && !(isCode(text, value) || isConstant(content, value.isQuoted))
      : looksTyped(content, { isQuoted: value.isQuoted, isCode: isCode(text, value), isSaid })
  return looks ? { start: value.start, end: value.end } : null
}

interface Value extends Match {
  readonly isQuoted: boolean
}

function valueAt(text: string, at: number): Value | null {
  const quote = /^(?:\\?["'`])/.exec(text.slice(at, at + 2))?.[0] ?? ''
  const start = at + quote.length
  if (quote === '') {
    BARE.lastIndex = start
    const end = start + (BARE.exec(text)?.[0].length ?? 0)
    if (end - start > VALUE_MAX) return null
    const trimmed = withoutTail(text, start, end)
    return trimmed === start ? null : { start, end: trimmed, isQuoted: false }
  }
  const end = text.slice(start, start + VALUE_MAX + quote.length).indexOf(quote)
  return end <= 0 ? null : { start, end: start + end, isQuoted: true }
}

/** Without the punctuation of the sentence around it; one `!` or `?` may be the value's own. */
function withoutTail(text: string, start: number, end: number): number {
  let last = end
  while (last > start && '.,;:!?)]}'.includes(text.charAt(last - 1))) last--
  return last === end - 1 && '!?'.includes(text.charAt(last)) ? end : last
}

const BARE = /[^\s"'`<>,;|&\\]{0,129}/y

/** Whether an unquoted value is an expression of a program: a call, a member, an index, a type. */
function isCode(text: string, { start, end, isQuoted }: Value): boolean {
  if (isQuoted) return false
  const value = text.slice(start, end)
  return (
    /[([{]|=>|\w\.[A-Za-z_]|^[$%@&*!+/]|^\d+$|[)\]};]$|::|->/.test(value) ||
    /^(?:\(|\[| (?:\?|\|\||&&|\+|=|\?\?) )/.test(text.slice(end, end + 4))
  )
}

/** `X509_SUBJECT_TOKEN`, `findX509Error`: names of a program, not in quotes. */
function isConstant(value: string, isQuoted: boolean): boolean {
  return (
    !isQuoted &&
    (/^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$/.test(value) || /[a-z]{4,}[A-Z]?[a-z]{4,}/.test(value))
  )
}

const NOT_SECRET =
  /^(?:null|nil|none|true|false|undefined|string|text|password\d?|passwd|pass|secret|token|hidden|encrypted|required|optional|empty|unknown|default|string\b.*|process\.env.*|os\.environ.*|env[.:].*|\$\w+|%\w+%|:\w+|\?+|\*+|#\w*|•+)$/i

interface Context {
  readonly isQuoted: boolean
  readonly isCode: boolean
  /** A word for "is" stands before it. */
  readonly isSaid: boolean
}

function looksTyped(value: string, { isQuoted, isCode: code, isSaid }: Context): boolean {
  if (value.length < 4 || code || !/[\d!@#$%^&*?~+]/.test(value) || isNothing(value)) return false
  const kinds = [/[a-z]/, /[A-Z]/, /\d/, /[!@#$%^&*?~+]/].filter((kind) => kind.test(value)).length
  const isName = /^[a-z]+[_-]?\d$/i.test(value) && value.length < 8 && !isSaid
  if (kinds < 2 || isName) return false
  return isQuoted || isSaid || kinds > 2 || /\d/.test(value)
}

/** A stand-in, a path, a file, a sentence. */
function isNothing(value: string): boolean {
  if (/\s/.test(value) || NOT_SECRET.test(value)) return true
  if (/^(?:https?:|\/|\.\/|\w+\/\w+|[\w-]+\.[a-z]{2,4}$)/.test(value)) return true
  return isPlaceholder(value) && !/\d.*[!@#$%^&]|[!@#$%^&].*\d/.test(value)
}

/** Drawn by a machine: long, with digits among letters, and no word of a program. */
function looksMade(value: string): boolean {
  if (value.length < 16 || !/^[\w+/=.~:-]+$/.test(value) || isPlaceholder(value)) return false
  const digits = value.replace(/\D/g, '').length
  if (digits < 3 || digits < value.length / 12 || !/[a-z]/i.test(value)) return false
  if (/^[a-z]+(?:[._-][a-z]+\d*)+$/i.test(value) || /\.[a-z]{2,4}$/i.test(value)) return false
  return entropyOf(value) >= 3.2
}

const SCHEME = /[a-z][a-z0-9+.-]{1,24}$/i
const USERINFO = /([^\s:@/"'<>`]{0,64}):([^\s@/"'<>`]{1,128})@[\w.[-]/y
const COMMON =
  /^(?:pass|password|passwd|pw|pwd|secret|token|user|username|credentials?|key|apikey|x+|\*+|\.{3,}|\$.*|%\w+%|:.*|\[.*|.*[<>{}].*)$/i

/** `scheme://user:password@host`. */
function userinfoAt(text: string, start: number, end: number): Match | null {
  if (!SCHEME.test(text.slice(Math.max(0, start - 26), start))) return null
  USERINFO.lastIndex = end
  const found = USERINFO.exec(text)
  const secret = found?.[2] ?? ''
  if (found === null || COMMON.test(secret) || isPlaceholder(secret)) return null
  if (/\d+$/.test(secret) && /^\d{1,5}$/.test(secret)) return null
  const from = end + (found[1]?.length ?? 0) + 1
  return { start: from, end: from + secret.length }
}

const isBase64 = unitsOf(/[\w+/=-]/)
/** What base64 of a visible first character begins with: its upper six bits are 8 to 31. */
const isBase64OfVisible = unitsOf(/[I-Za-f]/)

/** Credentials of HTTP basic authentication (RFC 7617): base64 of `user:password`. */
function basicAt(text: string, start: number): Match | null {
  if (!isBase64OfVisible(text.charCodeAt(start))) return null
  const end = runEnd(text, start, VALUE_MAX, isBase64)
  if (end - start < 8) return null
  const decoded = Buffer.from(text.slice(start, end), 'base64').toString('latin1')
  return /^[\x20-\x39\x3b-\x7e]{1,64}:[\x20-\x7e]{4,}$/.test(decoded) ? { start, end } : null
}
