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
  let weight = 0
  let units = 0
  for (const text of facts.texts.values) {
    const scanned = Math.max(0, Math.min(text.length, SCANNED_UNITS_MAX - units))
    weight += weigh(text, scanned) + (text.length - scanned) * MARK
    units += text.length
  }
  // Keys, roles and other readings of the same text are inspected too, but are not prompt.
  const beside = Math.max(0, units - facts.inputChars)
  const prompt = Math.max(weight - beside * PROSE, facts.inputChars * PROSE)
  return Math.ceil(prompt) + FRAMING_TOKENS + facts.uninspectable.length * UNREADABLE_TOKENS
}

function weigh(text: string, end: number): number {
  let weight = 0
  let run = 0
  let runLetters = 0
  let runDigits = 0
  for (let at = 0; at <= end; at++) {
    const unit = at === end ? 0 : text.charCodeAt(at)
    if (unit <= 0x20) {
      weight += PROSE + weighRun(run, runLetters, runDigits)
      run = runLetters = runDigits = 0
    } else if (unit < 0x80) {
      run++
      if (isLetter(unit)) runLetters++
      else if (unit >= 0x30 && unit <= 0x39) runDigits++
    } else weight += weightBeyondAscii(unit)
  }
  return weight
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
