import { type Detector, entropyOf, isDigit, isPlaceholder } from './detector.ts'

const LENGTH_MIN = 24
const LENGTH_MAX = 256

/** Bits a character: random base64 of 24 characters has 4.2 ± 0.15, English words in camelCase 3.6. */
const ENTROPY_MIN = 3.85
/** Changes between lower case, upper case, digits and marks: random base62 0.62, identifiers below 0.3. */
const CHANGES_MIN = 0.36

/** Digests that are public: subresource integrity, lock files, image digests, source maps. */
const PUBLIC_BEFORE = /(?:sha(?:1|256|384|512)[-:=]|base64,|integrity["']?[:=]\s?["']?|md5[-:=])$/i
const PUBLIC_START = /^(?:sha(?:1|224|256|384|512)-|md5-|h1:|data:)/i

/**
 * Tokens that look drawn at random: mixed lower case, upper case and digits in no order that words
 * have. Hexadecimal alone is not enough, for it is mostly digests and ids, and base64 longer than 256
 * characters is mostly files.
 */
export const highEntropy: Detector = {
  id: 'high_entropy',
  charsMax: LENGTH_MAX,
  atToken(text, start, end) {
    const from = PUBLIC_START.test(text.slice(start, start + 8)) ? end : afterName(text, start, end)
    const length = end - from
    if (length < LENGTH_MIN || length > LENGTH_MAX) return null
    if (/[./@:]/.test(text.charAt(from - 1)) && !/[:=] ?$|bot$/.test(text.slice(from - 2, from)))
      return null
    if (PUBLIC_BEFORE.test(text.slice(Math.max(0, from - 16), from))) return null
    const token = text.slice(from, end)
    if (!isMixed(token) || entropyOf(token) < ENTROPY_MIN || isPlaceholder(token)) return null
    return { start: from, end }
  },
}

/** Behind `NAME=`, which belongs to the same run of characters; nothing beyond the run is searched. */
function afterName(text: string, start: number, end: number): number {
  const equals = text.slice(start, end).indexOf('=')
  return equals !== -1 && equals < end - start - 2 ? start + equals + 1 : start
}

const ORDERED = /abcdef|ABCDEF|12345|uvwxyz|UVWXYZ/
/** A run of letters as long as this is a word: in random base62 one in a thousand tokens has it. */
const WORD = /[a-z]{10}|[A-Z]{10}|[a-z]{4,}[A-Z_/-][a-z]{4,}/

function isMixed(token: string): boolean {
  if (/^[\da-f-]+$/i.test(token) || ORDERED.test(token) || WORD.test(token)) return false
  const letters = token.replace(/[^A-Za-z\d]/g, '')
  if (token.length - letters.length > token.length / 8) return false
  const counts: [number, number, number] = [0, 0, 0]
  let changes = 0
  let before = kindOf(letters.charCodeAt(0))
  for (let i = 0; i < letters.length; i++) {
    const kind = kindOf(letters.charCodeAt(i))
    counts[kind]++
    if (kind !== before) changes++
    before = kind
  }
  const [lower, upper, digits] = counts
  return lower > 2 && upper > 2 && digits > 1 && changes / letters.length >= CHANGES_MIN
}

function kindOf(unit: number): 0 | 1 | 2 {
  if (isDigit(unit)) return 2
  return unit >= 0x61 ? 0 : 1
}
