import { beginsAt, type Detector, endsAt, isAlphanumeric, isDigit, type Match } from './detector.ts'

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
  const separator = separatorAt(text, start + 4)
  let end = start + 4
  let rest = 0
  for (let count = 4; count < length; count++, end++) {
    if (separator !== '' && count % GROUP === 0) {
      if (text.charAt(end) !== separator) return null
      end++
    }
    const unit = text.charCodeAt(end)
    if (!isAlphanumeric(unit)) return null
    rest = appended(rest, unit)
  }
  return checked(text, rest, { start, end })
}

/** However it is parted; words of a text pass the check once in 97 times, so that most has to be digits. */
function irregular(text: string, start: number, length: number): Match | null {
  let end = start + 4
  let rest = 0
  let digits = 0
  for (let count = 4; count < length; count++, end++) {
    for (let i = 0; i < IRREGULAR_MAX && isIrregular(text, end); i++) end++
    const unit = text.charCodeAt(end)
    if (!isAlphanumeric(unit) || end - start >= CHARS_MAX) return null
    if (isDigit(unit)) digits++
    rest = appended(rest, unit)
  }
  return digits * 3 < (length - 4) * 2 ? null : checked(text, rest, { start, end })
}

function isIrregular(text: string, at: number): boolean {
  return at < text.length && IRREGULAR.includes(text.charAt(at))
}

/** The four characters at the start count last. */
function checked(text: string, rest: number, { start, end }: Match): Match | null {
  let all = rest
  for (let i = start; i < start + 4; i++) all = appended(all, text.charCodeAt(i))
  return all === 1 && endsAt(text, end) ? { start, end } : null
}

function separatorAt(text: string, at: number): string {
  const mark = text.charAt(at)
  return mark !== '' && SEPARATORS.includes(mark) ? mark : ''
}

/** The remainder modulo 97 of a number with one more character behind it: a digit, or A = 10 … Z = 35. */
function appended(rest: number, unit: number): number {
  return isDigit(unit) ? (rest * 10 + unit - 0x30) % 97 : (rest * 100 + (unit & 0x5f) - 0x37) % 97
}
