import { beginsAt, type Detector, isAlphanumeric, runEnd } from './detector.ts'

const CHARS_MAX = 8192
/** Shortest header with an algorithm, `{"alg":"none"}`, is 19 characters of base64url. */
const HEADER_MIN = 16
const HEADER_MAX = 2048

/** JSON web tokens (RFC 7519 signed, RFC 7516 encrypted) whose header decodes and names an algorithm. */
export const jwt: Detector = {
  id: 'jwt',
  charsMax: CHARS_MAX,
  charsBefore: 0,
  isOver: (text, start) => /\s/.test(text.slice(start, start + CHARS_MAX)),
  literals: ['eyj', 'ewog', 'eyai'],
  atLiteral(text, start) {
    if (!beginsAt(text, start) || /[.-]/.test(text.charAt(start - 1))) return null
    const ends = partEnds(text, start)
    const [headerEnd = start, payloadEnd = start] = ends
    if ((ends.length !== 3 && ends.length !== 5) || payloadEnd < headerEnd) return null
    const length = headerEnd - start
    if (length < HEADER_MIN || length > HEADER_MAX) return null
    return namesAlgorithm(text.slice(start, headerEnd))
      ? { start, end: ends.at(-1) ?? start }
      : null
  },
}

/** Where the parts end that dots join, five at most. */
function partEnds(text: string, start: number): readonly number[] {
  const ends: number[] = []
  for (let at = start; ends.length < 5;) {
    const end = runEnd(text, at, start + CHARS_MAX - at, isUrlSafe)
    ends.push(end)
    if (text.charAt(end) !== '.') break
    at = end + 1
  }
  return ends.length === 4 ? ends.slice(0, 3) : ends
}

function isUrlSafe(unit: number): boolean {
  return isAlphanumeric(unit) || unit === 0x2d || unit === 0x5f
}

function namesAlgorithm(header: string): boolean {
  try {
    const decoded: unknown = JSON.parse(Buffer.from(header, 'base64url').toString('utf8'))
    return typeof decoded === 'object' && decoded !== null && 'alg' in decoded
  } catch {
    return false
  }
}
