import { Units } from './units.ts'

/**
 * Letters of other scripts that look like Latin ones, as the Latin ones: what UTS #39 (Unicode security
 * mechanisms) calls a skeleton, of single units only, so that places stay where they are. Full-width,
 * mathematical and enclosed letters are not here: NFKC has resolved them before.
 */

/** Pairs of a letter and what it looks like; of Cyrillic also where only the capitals do. */
const PAIRS = [
  // Cyrillic
  'АAВBЕEЅSІIЈJКKМMНHОOРPСCТTУYҮYХXҺHԚQԜWѴVӀIԌGЗ3Ьb',
  'аaвbеeѕsіiјjкkмmнhоoрpсcтtуyүyхxһhԁdԛqԝwѵvӏlгrьbҽe',
  // Greek; the lunate sigma, which looks like c, is a final one in NFKC
  'ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXͿJ',
  'αaβbεeζzηnιiκkμuνvοoρpσoτtυuχxγyωwςcϳj',
  // Armenian
  'ՍUՏSՕOԼLսuոnօoհhցgզqյj',
  // Cherokee
  'ᎪAᏴBᏟCᎠDᎬEᏀGᎻHᎫJᏦKᏞLᎷMᏢPᎡRᏚSᎢTᏙVᏔWᏃZᎥi',
  // Latin that is not ASCII: dotless, script, struck through and small capitals
  'ıiȷjɑaɡgɩiʏyɇeʉuƶzøoØOħhĦHđdĐDŧtŦTƀbǥgɨiƗIɉjɍrɏyȼcⱥaᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpʀrꜱsᴛtᴜuᴠvᴡwᴢzǀlłlŁL',
  // Marks that hold keys and addresses together
  '∶:꞉:׃:։:∕/⧸/ǃ!',
]

/** Blocks with composed letters: Latin, Greek, Cyrillic, Latin and Greek extended. */
const COMPOSED = [
  [0xc0, 0x24f],
  [0x370, 0x52f],
  [0x1e00, 0x1fff],
] as const
const ASCII_END = 0x80

/** The table of all of them; made where a file asks for it. */
export class LookAlikes {
  readonly #reads = new Uint16Array(0x10000)

  constructor() {
    for (let unit = 0; unit < 0x10000; unit++) this.#reads[unit] = unit
    for (const pairs of PAIRS) {
      for (let i = 0; i < pairs.length; i += 2) {
        this.#reads[pairs.charCodeAt(i)] = pairs.charCodeAt(i + 1)
      }
    }
    for (const [first, last] of COMPOSED) {
      for (let unit = first; unit <= last; unit++) this.#compose(unit)
    }
  }

  /** Accents put on the letters of a word make no other word of it: `ё` and `é` look like `e`. */
  #compose(unit: number): void {
    const parts = String.fromCharCode(unit).normalize('NFD')
    const base = parts.charCodeAt(0)
    const read = this.#reads[base] ?? base
    if (parts.length > 1 && read < ASCII_END) this.#reads[unit] = read
  }

  /** A word as it looks, when a file is loaded. */
  word(word: string): string {
    return this.read(word, new Units(word.length))
  }

  /**
   * A text that was normalised, as it looks: as long as before, and the same string where nothing looks
   * like anything else. `units` is memory to work in.
   */
  read(text: string, units: Units): string {
    const reads = this.#reads
    let read = ''
    let seen = 0
    for (let from = 0; from < text.length;) {
      const count = units.fill(text, from, text.length)
      for (let i = 0; i < count; i++) {
        const unit = units.values[i] ?? 0
        const looks = reads[unit] ?? unit
        seen |= unit ^ looks
        units.values[i] = looks
      }
      read += units.text(0, count)
      from += count
    }
    return seen === 0 ? text : read
  }
}
