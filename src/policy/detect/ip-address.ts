import { isIP } from 'node:net'

import { beginsAt, type Detector, endsAt, type Match, type NumberRun } from './detector.ts'

const V6_CHARS_MAX = 45

/** Addresses that name nobody: unspecified, loopback, broadcast. */
const NOBODY: ReadonlySet<string> = new Set([
  '0.0.0.0',
  '127.0.0.1',
  '255.255.255.255',
  '::1',
  '::',
])
const MASK =
  /^255\.(?:0|128|192|224|24[08]|25[245])(?:\.\d+){2}$|^255\.255\.(?:0|128|192|224|24[08]|25[245])\.\d+$|^255\.255\.255\.\d+$/

/** IPv4 and IPv6 addresses (RFC 6943 §3.1.1 strict dotted form, RFC 4291 §2.2); not version numbers, not masks. */
export const ipAddress: Detector = {
  id: 'ip_address',
  charsMax: V6_CHARS_MAX,
  literals: [':'],
  atNumbers(text, run, found) {
    for (let i = 0; i + 3 < run.count; i++) {
      if (!isQuad(text, run, i)) continue
      found(run.start(i), run.end(i + 3))
      i += 3
    }
  },
  atLiteral(text, start) {
    const first = v6Start(text, start)
    if (first === null) return null
    const end = v6End(text, first)
    const address = text.slice(first, end)
    return isIP(address) === 6 && isLikely(address) && !NOBODY.has(address)
      ? { start: first, end }
      : null
  },
}

function isQuad(text: string, run: NumberRun, first: number): boolean {
  for (let i = first; i < first + 3; i++) {
    if (run.start(i + 1) - run.end(i) !== 1 || text.charAt(run.end(i)) !== '.') return false
  }
  const start = run.start(first)
  const end = run.end(first + 3)
  if (!stands(text, start, end)) return false
  const address = text.slice(start, end)
  if (end - start > 15 || isIP(address) !== 4 || NOBODY.has(address) || MASK.test(address))
    return false
  return !isVersion(text, start, address) && !isSection(text, address, { start, end })
}

function stands(text: string, start: number, end: number): boolean {
  if (!beginsAt(text, start) || /[.+]/.test(text.charAt(start - 1))) return false
  if (text.charAt(start - 1) === '-' && /[\w.]/.test(text.charAt(start - 2))) return false
  if (!endsAt(text, end) || /^(?:\.\d|[-+][A-Za-z])/.test(text.slice(end, end + 2))) return false
  return true
}

const VERSION_BEFORE =
  /(?:ver|versions?|release[ds]?|build|rev|firmware|section|§|sec|chapter|figure|table|clause|oid|rfc ?\d+|[A-Za-z]\/|[~^<]=?|(?<![\w"'/]|^|\n)>|>=|==|@)[\s:="'#(]{0,3}$|\bv[ .]?$/i

/** A version or a paragraph number, by what stands before it or by its small parts. */
function isVersion(text: string, start: number, address: string): boolean {
  if (VERSION_BEFORE.test(text.slice(Math.max(0, start - 20), start))) return true
  return /^(?:\d\.){3}0$|^1\.3\.6\.1$/.test(address)
}

/** `5.2.1.1. Append …`: the number of a paragraph in a standard. */
function isSection(text: string, address: string, { start, end }: Match): boolean {
  if (!/^(?:\d{1,2}\.){3}\d{1,2}$/.test(address)) return false
  const isLabel = /^[.:)]?(?: +[A-Z"`'%[]|\r?\n)/.test(text.slice(end, end + 4))
  return isLabel && /(?:^|[\n#*/-] {0,3}|[([])$/.test(text.slice(Math.max(0, start - 4), start))
}

function isV6Unit(unit: number): boolean {
  return (
    (unit >= 0x30 && unit <= 0x3a) ||
    unit === 0x2e ||
    ((unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x66)
  )
}

/** Where an address starts whose first colon is at `colon`; null when that one is not its first. */
function v6Start(text: string, colon: number): number | null {
  let start = colon
  while (start > 0 && colon - start < 5 && isV6Unit(text.charCodeAt(start - 1))) {
    if (text.charAt(start - 1) === ':') return null
    start--
  }
  if (colon - start > 4 || !beginsAt(text, start)) return null
  return start === colon && text.charAt(colon + 1) !== ':' ? null : start
}

function v6End(text: string, start: number): number {
  let end = start
  while (end < text.length && end - start <= V6_CHARS_MAX && isV6Unit(text.charCodeAt(end))) end++
  while (end > start && /[.:]/.test(text.charAt(end - 1)) && !text.endsWith('::', end)) end--
  return endsAt(text, end) ? end : start
}

/** Eight groups, or `::` behind a first group that is in use (RFC 4291 §2.4, IANA's registry). */
function isLikely(address: string): boolean {
  if (!address.includes('::')) return !/^(?:[\da-f]{2}:){7}[\da-f]{2}$/i.test(address)
  return /^(?:[23][\da-f]{3}|f[cd][\da-f]{2}|fe[89ab][\da-f]|ff[\da-f]{2}|100|64):|^::(?:ffff:)?\d+\.\d/i.test(
    address,
  )
}
