import type { Facts } from './exchange.ts'

/**
 * How many tokens a prompt will take, before anybody has counted them. One pass over the text by
 * classes of characters: real tokenizers are slower than linear on long runs without spaces (200 KB
 * of one letter takes the fastest for JavaScript 40 s), so a caller could stop the process with one.
 *
 * Weights are tokens per UTF-16 unit against o200k, measured at 5.2 characters a token for English,
 * 5.3 for German, 3.2 for TypeScript, 2.6 for JSON, 1.5 for Chinese and 1.4 for base64. The
 * estimate is meant to be a little high: about a third for prose, a tenth for code and Chinese. A
 * call is charged by it only until the provider's own figure is known.
 */
const PROSE = 1 / 4
const MARK = 1 / 2
const DENSE = 3 / 4
const RARE = 3 / 2

/** A run this long without a space is no prose: keys, hashes, base64. */
const RUN_UNITS_MIN = 32
/** Text beyond this is not looked at but taken for `MARK`, which no ordinary text exceeds. */
const SCANNED_UNITS_MAX = 256 * 1024
/** What messages, roles and the beginning of an answer take. */
const FRAMING_TOKENS = 3
/** An image, a file, stored context: a guess, until the provider reports. */
const UNREADABLE_TOKENS = 1_000

/** Tokens of a prompt, at least 1. */
export function estimateTokens(
  facts: Pick<Facts, 'texts' | 'inputChars' | 'uninspectable'>,
): number {
  const weigher = new Weigher()
  let units = 0
  for (const text of facts.texts.values) {
    weigher.add(text)
    weigher.space()
    units += text.length
  }
  const { weight } = weigher
  // Keys, roles and other readings of the same text are inspected too, but are not prompt.
  const beside = Math.max(0, units - facts.inputChars)
  const prompt = Math.max(weight - beside * PROSE, facts.inputChars * PROSE)
  return Math.ceil(prompt) + FRAMING_TOKENS + facts.uninspectable.length * UNREADABLE_TOKENS
}

/** Tokens of a text that comes piece by piece; where it is cut makes no difference. */
export class TokenCounter {
  readonly #weigher = new Weigher()

  /** Tokens of the text so far, at least 0. */
  get tokens(): number {
    return Math.ceil(this.#weigher.weight)
  }

  add(piece: string): void {
    this.#weigher.add(piece)
  }
}

/** Weighs what is added to it, of which a run without spaces may go on in what is added next. */
class Weigher {
  #weight = 0
  #scannedUnits = 0
  #run = 0
  #runLetters = 0
  #runDigits = 0

  get weight(): number {
    return this.#weight + weighRun(this.#run, this.#runLetters, this.#runDigits)
  }

  space(): void {
    this.#weight += PROSE + weighRun(this.#run, this.#runLetters, this.#runDigits)
    this.#run = this.#runLetters = this.#runDigits = 0
  }

  add(text: string): void {
    const end = Math.min(text.length, SCANNED_UNITS_MAX - this.#scannedUnits)
    this.#scannedUnits += end
    let weight = this.#weight + (text.length - end) * MARK
    let run = this.#run
    let runLetters = this.#runLetters
    let runDigits = this.#runDigits
    for (let at = 0; at < end; at++) {
      const unit = text.charCodeAt(at)
      if (unit <= 0x20) {
        weight += PROSE + weighRun(run, runLetters, runDigits)
        run = runLetters = runDigits = 0
      } else if (unit < 0x80) {
        run++
        if (isLetter(unit)) runLetters++
        else if (unit >= 0x30 && unit <= 0x39) runDigits++
      } else weight += weightBeyondAscii(unit)
    }
    this.#weight = weight
    this.#run = run
    this.#runLetters = runLetters
    this.#runDigits = runDigits
  }
}

/** A long run of hardly anything but letters and digits; compact JSON is one of many marks. */
function weighRun(run: number, letters: number, digits: number): number {
  const isDense = run >= RUN_UNITS_MIN && (letters + digits) * 10 >= run * 9
  return isDense ? run * DENSE : letters * PROSE + (run - letters) * MARK
}

function isLetter(unit: number): boolean {
  const lower = unit | 0x20
  return lower >= 0x61 && lower <= 0x7a
}

/** Accents, Greek, Cyrillic, Hebrew, Arabic; then Chinese, Japanese, Korean; then all others. */
function weightBeyondAscii(unit: number): number {
  if (unit < 0x800) return MARK
  return unit >= 0x3000 && unit < 0xd7b0 ? DENSE : RARE
}

/** Tokens of text that was produced, from its UTF-8 bytes; the same weight as prose. */
export function tokensOfBytes(bytes: number): number {
  return Math.ceil(bytes * PROSE)
}
