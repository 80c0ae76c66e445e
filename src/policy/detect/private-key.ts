import { type Detector, isAlphanumeric, type Match } from './detector.ts'

/** An RSA key of 16,384 bits is 12.6 KB as PEM. */
const CHARS_MAX = 16_384
/** Fewer characters are a mention, not a key; an Ed25519 key in PKCS #8 has 64. */
const BODY_MIN = 40
/** No first line is longer. */
const HEADER_MAX = 128
const HEADER = /-{4,5} ?BEGIN ([A-Z0-9]{1,12} ){0,3}PRIVATE KEY( BLOCK)? ?-{4,5}/y
const PUTTY = /PuTTY-User-Key-File-\d: [\w@.-]{3,40}/y

/** Private keys in text armour: PEM (RFC 7468), OpenSSH, PGP (RFC 4880 §6.2), SSH2 and PuTTY. */
export const privateKey: Detector = {
  id: 'private_key',
  charsMax: CHARS_MAX,
  charsBefore: 0,
  isOver(text, start) {
    if (text.length - start < HEADER_MAX) return false
    const header = text.charAt(start) === '-' ? HEADER : PUTTY
    header.lastIndex = start
    return !header.test(text)
  },
  literals: ['-----begin', '---- begin', 'putty-user-key-file-'],
  atLiteral(text, start) {
    if (text.charAt(start) !== '-') return puttyAt(text, start)
    HEADER.lastIndex = start
    const header = HEADER.exec(text)
    if (header === null) return null
    const bodyStart = start + header[0].length
    const limit = Math.min(text.length, start + CHARS_MAX)
    const foot = footer(text, bodyStart, limit)
    const body = text.slice(bodyStart, foot.start)
    return keyCharacters(body) < BODY_MIN ? null : { start, end: foot.end }
  },
}

function puttyAt(text: string, start: number): Match | null {
  PUTTY.lastIndex = start
  const header = PUTTY.exec(text)
  if (header === null) return null
  const from = start + header[0].length
  const mac = text.slice(from, start + CHARS_MAX).search(/Private-(?:MAC|Hash): [\da-f]{40,64}/)
  if (mac === -1) return null
  const end = /^\S+ [\da-f]+/.exec(text.slice(from + mac, from + mac + 90))
  return { start, end: from + mac + (end?.[0].length ?? 0) }
}

const FOOTER = /-{4,5} ?END [A-Z0-9 ]{0,50}-{4,5}/y

/** The closing line, or where the characters of a key end: a key cut off is a key nevertheless. */
function footer(text: string, from: number, limit: number): { start: number; end: number } {
  let end = from
  while (end < limit && isArmour(text.charCodeAt(end))) {
    if (text.startsWith('----', end)) {
      FOOTER.lastIndex = end
      const found = FOOTER.exec(text)
      return { start: end, end: found === null ? end : Math.min(limit, end + found[0].length) }
    }
    end++
  }
  return { start: end, end }
}

/** Base64, blanks and escapes, and what header lines hold (`Proc-Type: 4,ENCRYPTED`). */
function isArmour(unit: number): boolean {
  return isAlphanumeric(unit) || ' \t\r\n+/=\\:,-"\'().<>_#;'.includes(String.fromCharCode(unit))
}

/** Characters of base64 on lines, or between escapes, that hold nothing else. */
function keyCharacters(body: string): number {
  let count = 0
  for (const line of body.split(/\\[nr]|[\s"',]/)) {
    if (/^[A-Za-z0-9+/=]{16,}$/.test(line)) count += line.length
  }
  return count
}
