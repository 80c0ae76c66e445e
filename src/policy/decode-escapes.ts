/** Escapes of URLs, HTML, programs and mail that stand for one character each, in runs. */

/** What HTML allows before a number, which has no limit there; a stream has to wait for its end. */
const ZEROS = '0{0,16}'
const HEX = '[\\da-fA-F]'
const ESCAPE = new RegExp(
  [
    `%(${HEX}{2})`,
    String.raw`\\[xX](${HEX}{2})`,
    String.raw`\\([0-3][0-7]{2})`,
    String.raw`\\U(00(?:0${HEX}|10)${HEX}{4})`,
    String.raw`(?:%|\\)[uU](${HEX}{4})`,
    String.raw`(?:\\[uU]\{|&#[xX])${ZEROS}(${HEX}{1,6})(?:\}|;)?`,
    String.raw`&#${ZEROS}(\d{1,7});?`,
    String.raw`&([a-zA-Z][a-zA-Z\d]{1,18});`,
  ].join('|'),
  'y',
)
/** Quoted-printable (RFC 2045 §6.7), which writes its digits in capitals. */
const QUOTED = /=([\dA-F]{2})/y

/** Names of HTML for characters of ASCII and for what is invisible or a space. */
const NAMES: ReadonlyMap<string, number> = namedReferences()

function namedReferences(): Map<string, number> {
  const ascii =
    'Tab 9 NewLine 10 excl 33 quot 34 QUOT 34 num 35 dollar 36 percnt 37 amp 38 AMP 38 apos 39 lpar 40 ' +
    'rpar 41 ast 42 midast 42 plus 43 comma 44 period 46 sol 47 colon 58 semi 59 lt 60 LT 60 equals 61 ' +
    'gt 62 GT 62 quest 63 commat 64 lsqb 91 lbrack 91 bsol 92 rsqb 93 rbrack 93 Hat 94 lowbar 95 ' +
    'UnderBar 95 grave 96 lcub 123 lbrace 123 verbar 124 vert 124 VerticalLine 124 rcub 125 rbrace 125 ' +
    'hyphen 45 dash 45 minus 45 ndash 45 mdash 45 ensp 32 emsp 32 thinsp 32 hairsp 32 zwnj 8204 ' +
    'zwj 8205 lrm 8206 rlm 8207 lsquo 39 rsquo 39 fjlig 102 inodot 305 imath 305 ' +
    'ZeroWidthSpace 8203 NegativeVeryThinSpace 8203 NegativeThinSpace 8203 NegativeMediumSpace 8203 ' +
    'NegativeThickSpace 8203 NoBreak 8288 ApplyFunction 8289 af 8289 InvisibleTimes 8290 it 8290 ' +
    'InvisibleComma 8291 ic 8291 NonBreakingSpace 160 ThinSpace 32 VeryThinSpace 32 MediumSpace 32 ' +
    'numsp 32 puncsp 32 emsp13 32 emsp14 32'
  const latin =
    'nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 ' +
    'sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc ' +
    'Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve ' +
    'Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute ' +
    'acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ' +
    'ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml'
  const names = new Map(latin.split(' ').map((name, index) => [name, 160 + index]))
  const pairs = ascii.split(' ')
  for (let i = 0; i < pairs.length; i += 2) names.set(pairs[i] ?? '', Number(pairs[i + 1]))
  return names
}

/** `&zscr;`, `&zfr;` and `&zopf;` are a z in other types. */
const IN_TYPES = /^([A-Za-z])(?:scr|fr|opf)$/

/** A longer run goes on in another, so that no step takes long. */
const RUN_UNITS_MAX = 16 * 1024

/** A run of escapes: where it ends, and what it says. */
export interface EscapeRun {
  readonly end: number
  readonly text: string
}

/**
 * The escapes that follow each other from `at` on: `%7A`, `%u007A`, `\x7A`, `\172`, `\u007a`, `\u{7a}`, `\U0000007a`,
 * `&#122;`, `&#x7a;`, names of HTML; of quoted-printable at least two. Bytes are UTF-8. Null when none
 * is there. Time is linear in the run.
 */
export function escapesAt(text: string, at: number): EscapeRun | null {
  const isQuoted = text.charCodeAt(at) === 0x3d
  if (!mayEscape(text, at)) return null
  const pattern = isQuoted ? QUOTED : ESCAPE
  const said = new Said()
  let end = at
  let count = 0
  for (;;) {
    pattern.lastIndex = end
    const found = pattern.exec(text)
    if (found === null || (end - at >= RUN_UNITS_MAX && !isInside(found))) break
    if (!said.add(found)) break
    end += found[0].length
    count++
  }
  return count < (isQuoted ? 2 : 1) ? null : { end, text: said.text() }
}

/** Whether it is a byte inside a character (UTF-8). */
function isInside([, percent, hex]: RegExpExecArray): boolean {
  const byte = Number.parseInt(percent ?? hex ?? '0', 16)
  return byte >= 0x80 && byte < 0xc0
}

/** Told from two characters, for most of `%`, `&`, `=` and `\` are no escape. */
function mayEscape(text: string, at: number): boolean {
  const next = text.charCodeAt(at + 1)
  if (text.charCodeAt(at) === 0x26) return next === 0x23 || isLetter(next)
  return (next | 0x20) === 0x75 || (next | 0x20) === 0x78 || isHexDigit(next)
}

/** What escapes say: bytes that follow each other are characters together. */
class Said {
  #text = ''
  #bytes: number[] = []

  /** False where it is no character. */
  add([, percent, hex, octal, long, unit, hexPoint, point, name]: RegExpExecArray): boolean {
    const byte = percent ?? hex
    if (byte !== undefined) this.#bytes.push(Number.parseInt(byte, 16))
    else if (octal !== undefined) this.#bytes.push(Number.parseInt(octal, 8))
    else return this.#addText(characterOf({ unit, hexPoint: long ?? hexPoint, point, name }))
    return true
  }

  text(): string {
    this.#addText('')
    return this.#text
  }

  #addText(text: string | null): boolean {
    if (text === null) return false
    if (this.#bytes.length > 0) this.#text += Buffer.from(this.#bytes).toString('utf8')
    this.#bytes = []
    this.#text += text
    return true
  }
}

interface Named {
  readonly unit: string | undefined
  readonly hexPoint: string | undefined
  readonly point: string | undefined
  readonly name: string | undefined
}

function characterOf({ unit, hexPoint, point, name }: Named): string | null {
  if (unit !== undefined) return String.fromCharCode(Number.parseInt(unit, 16))
  if (name !== undefined) {
    const known = NAMES.get(name)
    return known === undefined ? (IN_TYPES.exec(name)?.[1] ?? null) : String.fromCodePoint(known)
  }
  const value = hexPoint === undefined ? Number(point) : Number.parseInt(hexPoint, 16)
  return value > 0x10ffff ? null : String.fromCodePoint(value)
}

function isLetter(unit: number): boolean {
  return (unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x7a
}

/** `0` to `9`, `a` to `f` in either case. */
export function isHexDigit(unit: number): boolean {
  return (unit >= 0x30 && unit <= 0x39) || ((unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x66)
}
