import { crc32 } from 'node:zlib'

import { KEY_FORMATS, type KeyFormat } from './api-key-formats.ts'
import {
  type Detector,
  distinctIn,
  entropyOf,
  isAlphanumeric,
  isDigit,
  EMPHASIS_MAX,
  isEmphasisBefore,
  isEscapeBefore,
  isPlaceholder,
  type Match,
  runEnd,
  unitsOf,
} from './detector.ts'

const CHARS_MAX = 544

const SETS: Readonly<Record<KeyFormat['set'], (unit: number) => boolean>> = {
  alnum: isAlphanumeric,
  url: unitsOf(/[\w-]/),
  hex: unitsOf(/[\da-f]/i),
  base32: unitsOf(/[2-7A-Z]/),
  base64: unitsOf(/[\w+/=-]/),
  dotted: unitsOf(/[\w.-]/),
}

/** Formats by the folded beginning the shared pass looks for. */
const BY_LITERAL: ReadonlyMap<string, readonly KeyFormat[]> = Map.groupBy(
  KEY_FORMATS,
  ({ prefix }) => prefix.toLowerCase(),
)

/** Names that announce keys without a mark of their own; what follows is held to more. */
const NAMES: ReadonlySet<string> = new Set([
  'aws_secret',
  'awssecret',
  'secretaccesskey',
  'secret_access_key',
  'mistral',
  'cohere',
  'azure',
  'ocp-apim-subscription-key',
  'x-api-key',
  'api-key',
  'api_key',
  'apikey',
  'datadog',
  'twilio',
  'mailchimp',
  'algolia',
  'cloudflare',
])

/**
 * Keys of clouds, code hosts, model providers, chat and payment services: by prefix, characters and
 * length; by GitHub's checksum where it holds; and keys without a prefix where a name announces them.
 * What is spelled like a stand-in (`sk-xxxx…`) is none.
 */
export const apiKey: Detector = {
  id: 'api_key',
  charsMax: CHARS_MAX,
  charsBefore: 96,
  literals: [...BY_LITERAL.keys(), ...NAMES, ':aa', '-us', 'jqqj99'],
  atLiteral(text, start, literal) {
    const end = start + literal.length
    for (const format of BY_LITERAL.get(literal) ?? []) {
      const match = formatAt(text, start, format)
      if (match !== null) return match
    }
    if (literal === ':aa') return telegramAt(text, start)
    if (literal === '-us') return mailchimpAt(text, start)
    if (literal === 'jqqj99') return azureAt(text, start)
    return NAMES.has(literal) ? announcedAt(text, end) : null
  },
}

/** Nothing before a key but what cannot be part of one; `_` and `-` join words of which it would be a part. */
function standsAt(text: string, at: number, set: KeyFormat['set'] = 'url'): boolean {
  if (at === 0) return true
  const before = text.charCodeAt(at - 1)
  if (set === 'dotted' && before === 0x2e) return false
  if (!isAlphanumeric(before) && before !== 0x2d && before !== 0x5f) return true
  return isEscapeBefore(text, at) || isEmphasisBefore(text, at)
}

function formatAt(text: string, start: number, format: KeyFormat): Match | null {
  const { prefix, set, min, max, shape } = format
  if (!text.startsWith(prefix, start) || !standsAt(text, start, set)) return null
  const from = start + prefix.length
  const end = bodyEnd(text, from, format)
  const body = text.slice(from, end)
  if (body.length < min || body.length > max || isAlphanumeric(text.charCodeAt(end))) return null
  return shape?.test(body) !== false && isDrawn(prefix, body) ? { start, end } : null
}

/** Where what is behind a prefix ends, without what ends a sentence or an emphasis. */
function bodyEnd(text: string, from: number, { set, max }: KeyFormat): number {
  let end = runEnd(text, from, max + 1 + EMPHASIS_MAX, SETS[set])
  while (end > from && text.charAt(end - 1) === '.') end--
  while (end - from > max && text.charAt(end - 1) === '_') end--
  return end
}

/** Whether a body can have been issued: its checksum holds, or it looks random. */
function isDrawn(prefix: string, body: string): boolean {
  if (/^(?:gh[pousr]_|npm_)$/.test(prefix) && hasChecksum(body)) return true
  if (distinctIn(body) < 8 || isPlaceholder(body)) return false
  if (prefix.endsWith('/') || /^[A-Z]{4}$/.test(prefix)) return true
  return /\d/.test(body) && entropyOf(body) >= 3
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** GitHub and npm end a token with the CRC-32 of what is before, six digits of base 62. */
function hasChecksum(body: string): boolean {
  let rest = crc32(body.slice(0, -6))
  let digits = ''
  for (; digits.length < 6; rest = Math.floor(rest / 62)) digits = BASE62.charAt(rest % 62) + digits
  return body.endsWith(digits)
}

/** `<bot id>:AA…`: 8 to 10 digits, then 35 characters. */
function telegramAt(text: string, colon: number): Match | null {
  let start = colon
  while (start > 0 && colon - start < 11 && isDigit(text.charCodeAt(start - 1))) start--
  const end = runEnd(text, colon + 1, 36, SETS.url)
  if (colon - start < 8 || colon - start > 10 || end - colon !== 36) return null
  const bot = text.startsWith('bot', start - 3)
  if (!text.startsWith('AA', colon + 1) || !(bot || standsAt(text, start))) return null
  return isDrawn('', text.slice(colon + 1, end)) ? { start, end } : null
}

/** 32 hexadecimal digits, then the data centre: `-us12`. */
function mailchimpAt(text: string, dash: number): Match | null {
  const start = dash - 32
  const end = runEnd(text, dash + 3, 3, isDigit)
  if (start < 0 || end === dash + 3 || end - dash > 5 || isAlphanumeric(text.charCodeAt(end)))
    return null
  if (runEnd(text, start, 32, SETS.hex) !== dash || !standsAt(text, start)) return null
  return isDrawn('', text.slice(start, dash)) ? { start, end } : null
}

/** Azure's newer keys: 84 characters, `JQQJ99` behind the first 52. */
function azureAt(text: string, mark: number): Match | null {
  const start = mark - 52
  if (start < 0 || !text.startsWith('JQQJ99', mark) || !standsAt(text, start)) return null
  const end = runEnd(text, start, 85, isAlphanumeric)
  return end - start === 84 && isDrawn('', text.slice(start, end)) ? { start, end } : null
}

const ANNOUNCED =
  /[\w.-]{0,32}(?:\\?["'])?\s{0,4}(?:=>|:=|[:=]|\bis\b)\s{0,4}(?:\\?["'])?(?:(?:Bearer|Basic|Token|Key)\s)?/iy
const ANNOUNCED_MIN = 20
const ANNOUNCED_MAX = 128

/** A value assigned to a name of a key: random by its letters, for nothing else tells. */
function announcedAt(text: string, end: number): Match | null {
  ANNOUNCED.lastIndex = end
  const found = ANNOUNCED.exec(text)
  if (found === null) return null
  const start = end + found[0].length
  const valueEnd = runEnd(text, start, ANNOUNCED_MAX + 1, SETS.base64)
  const value = text.slice(start, valueEnd)
  if (value.length < ANNOUNCED_MIN || value.length > ANNOUNCED_MAX) return null
  if (/[.([]/.test(text.charAt(valueEnd)) && isAlphanumeric(text.charCodeAt(valueEnd + 1)))
    return null
  const digits = value.replace(/\D/g, '').length
  if (digits < value.length / 16 || !/[a-z]/i.test(value) || isPlaceholder(value)) return null
  return entropyOf(value) >= 3.3 ? { start, end: valueEnd } : null
}
