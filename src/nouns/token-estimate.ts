import type { Facts } from '../exchange.ts'

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
/** Text beyond this is not looked at unit by unit in one go; see `mostOf`. */
const SCANNED_UNITS_MAX = 256 * 1024
/** What is looked at in one step of a long prompt; about a millisecond. */
const STEP_UNITS = 128 * 1024
/** What messages, roles and the beginning of an answer take. */
const FRAMING_TOKENS = 3
/** An image, a file, stored context: a guess, until the provider reports. */
const UNREADABLE_TOKENS = 1_000

/** What an estimate is made of. */
type Prompt = Pick<Facts, 'texts' | 'inputChars' | 'uninspectable'>

/** A weighed prompt: of all its texts, prompt or not. */
interface Weighed {
  readonly weight: number
  readonly units: number
}

/** Of long prompts, once they were weighed whole. */
const whole = new WeakMap<Facts['texts'], Weighed>()

/**
 * Tokens of a prompt, at least 1. Of a long one that was not weighed before (`weigh`) the rest is taken
 * for the most it can be: a limit that refuses is never passed because nobody looked.
 */
export function estimateTokens({ texts, inputChars, uninspectable }: Prompt): number {
  const { weight, units } = whole.get(texts) ?? weighAtOnce(texts)
  // Keys, roles and other readings of the same text are inspected too, but are not prompt.
  const beside = Math.max(0, units - inputChars)
  const prompt = Math.max(weight - beside * PROSE, inputChars * PROSE)
  return Math.ceil(prompt) + FRAMING_TOKENS + uninspectable.length * UNREADABLE_TOKENS
}

/** Whether a prompt is so long that it should be weighed before it is estimated. */
export function isUnweighed({ texts, inputChars }: Prompt): boolean {
  return inputChars > SCANNED_UNITS_MAX && !whole.has(texts)
}

/** Weighs a long prompt to its end, in steps of about a millisecond. */
export function* weigh({ texts }: Prompt): Generator<void, void> {
  whole.set(texts, yield* weighing(texts))
}

function* weighing({ values }: Facts['texts']): Generator<void, Weighed> {
  const weigher = new Weigher(Infinity)
  let units = 0
  let done = 0
  for (const text of values) {
    for (let at = 0; at < text.length; at += STEP_UNITS) {
      const piece = text.slice(at, at + STEP_UNITS)
      weigher.add(piece)
      done += piece.length
      if (done < STEP_UNITS) continue
      done = 0
      yield
    }
    weigher.space()
    units += text.length
  }
  return { weight: weigher.weight, units }
}

function weighAtOnce({ values }: Facts['texts']): Weighed {
  const weigher = new Weigher(SCANNED_UNITS_MAX)
  let units = 0
  for (const text of values) {
    weigher.add(text)
    weigher.space()
    units += text.length
  }
  return { weight: weigher.weight, units }
}

/** Tokens of a text that comes piece by piece; where it is cut makes no difference. */
export class TokenCounter {
  readonly #weigher = new Weigher(SCANNED_UNITS_MAX)

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
  /** How much more is looked at. */
  #unitsLeft: number
  #run = 0
  #runLetters = 0
  #runDigits = 0

  constructor(unitsMax: number) {
    this.#unitsLeft = unitsMax
  }

  get weight(): number {
    return this.#weight + weighRun(this.#run, this.#runLetters, this.#runDigits)
  }

  space(): void {
    this.#weight += PROSE + weighRun(this.#run, this.#runLetters, this.#runDigits)
    this.#run = this.#runLetters = this.#runDigits = 0
  }

  add(text: string): void {
    const end = Math.min(text.length, this.#unitsLeft)
    this.#unitsLeft -= end
    let weight = this.#weight + (end < text.length ? mostOf(text.slice(end)) : 0)
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

/**
 * The most that a text can weigh, from its UTF-8 bytes, which are counted a hundred times as fast as
 * characters: what is beyond ASCII has at least one byte more than units.
 */
function mostOf(text: string): number {
  const beyond = Math.min(text.length, Buffer.byteLength(text) - text.length)
  return beyond * RARE + (text.length - beyond) * DENSE
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
