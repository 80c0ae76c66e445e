import { beginsAt, type Detector, endsAt, type Match } from './detector.ts'

/** Country and length, the IBAN registry of SWIFT (release 99), and those in use outside it. */
const LENGTHS: ReadonlyMap<string, number> = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 ' +
    'DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 ' +
    'IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 ' +
    'MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 ' +
    'SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 ' +
    'DZ26 AO25 BF28 BJ28 CF27 CG27 CI28 CM27 CV25 GA27 GQ27 GW25 IR26 KM27 MA28 MG27 ML28 MZ25 ' +
    'NE28 SN28 TD27 TG28'
  )
    .split(' ')
    .map((entry): [string, number] => [entry.slice(0, 2), Number(entry.slice(2))]),
)
const LENGTH_MAX = 34
const CHARS_MAX = LENGTH_MAX * 2
const SEPARATORS = ' -.'
const GROUP = 4
/** What may stand where groups are parted now so, now otherwise: by line ends, two blanks, a slash. */
const IRREGULAR = ' -./\t\r\n'
const IRREGULAR_MAX = 2

const NEITHER = 0xff
const BETWEEN = 0xfe
/** What an ASCII unit is worth (0 to 9, A = 10 … Z = 35), whether it may part groups, or neither. */
const WORTH = worth()

function worth(): Uint8Array {
  const table = new Uint8Array(128).fill(NEITHER)
  for (const mark of IRREGULAR) table[mark.charCodeAt(0)] = BETWEEN
  for (let value = 0; value < 36; value++) {
    const sign = value.toString(36)
    table[sign.charCodeAt(0)] = value
    table[sign.toUpperCase().charCodeAt(0)] = value
  }
  return table
}

/** International bank account numbers: country, its length, and the check of ISO 13616 (mod 97 is 1). */
export const iban: Detector = {
  id: 'iban',
  charsMax: CHARS_MAX,
  atCountryWord(text, start) {
    const length = LENGTHS.get(text.slice(start, start + 2).toUpperCase())
    if (length === undefined || !beginsAt(text, start)) return null
    return regular(text, start, length) ?? irregular(text, start, length)
  },
}

/** In one run, or in groups of four that one separator parts (ISO 13616). */
function regular(text: string, start: number, length: number): Match | null {
  const mark = text.charAt(start + 4)
  const isGrouped = mark !== '' && SEPARATORS.includes(mark)
  const end = start + length + (isGrouped ? Math.ceil(length / GROUP) - 1 : 0)
  // Where it would end tells most of what is none, before any of it is read.
  if (end > text.length || !endsAt(text, end)) return null
  const separator = mark.charCodeAt(0)
  let rest = 0
  for (let at = start + 4, count = 4; count < length; at++, count++) {
    if (isGrouped && count % GROUP === 0 && text.charCodeAt(at++) !== separator) return null
    const value = worthOf(text.charCodeAt(at))
    if (value >= BETWEEN) return null
    rest = appended(rest, value)
  }
  return checked(text, rest, { start, end })
}

/** However it is parted; words of a text pass the check once in 97 times, so that most has to be digits. */
function irregular(text: string, start: number, length: number): Match | null {
  const lettersMax = Math.floor((length - 4) / 3)
  let end = start + 4
  let rest = 0
  let letters = 0
  for (let count = 4; count < length; count++, end++) {
    let value = worthOf(text.charCodeAt(end))
    for (let i = 0; i < IRREGULAR_MAX && value === BETWEEN; i++) {
      value = worthOf(text.charCodeAt(++end))
    }
    if (value >= BETWEEN || end - start >= CHARS_MAX) return null
    if (value > 9 && ++letters > lettersMax) return null
    rest = appended(rest, value)
  }
  return endsAt(text, end) ? checked(text, rest, { start, end }) : null
}

function worthOf(unit: number): number {
  return unit < 128 ? (WORTH[unit] ?? NEITHER) : NEITHER
}

/** The four characters at the start count last. */
function checked(text: string, rest: number, { start, end }: Match): Match | null {
  let all = rest
  for (let i = start; i < start + 4; i++) all = appended(all, worthOf(text.charCodeAt(i)))
  return all === 1 ? { start, end } : null
}

/** The remainder modulo 97 of a number with one more character behind it. */
function appended(rest: number, value: number): number {
  return (rest * (value > 9 ? 100 : 10) + value) % 97
}
