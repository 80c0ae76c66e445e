import { SERIES_MIN } from './decode-sieve.ts'

/** Words that are spaced letter by letter. */

/**
 * The word that single letters make. Where a gap is another than the usual one, a word may end, or not
 * (`z.e-u-s`); a letter at either end may be a word of its own (`a z e u s`), a digit no part of one: it is told in all
 * these ways. Null where they are too few.
 */
export function spelled(text: string, places: readonly number[]): string | null {
  if (lettersOf(text, places) < SERIES_MIN) return null
  const usual = usualGap(text, places)
  const word = wordIn(text, places, usual)
  const apart = wordOf(text, places, (before, start) => {
    return start - before !== usual.length || !text.startsWith(usual, before)
  })
  const ways = [word, word.slice(1), word.slice(0, -1), word.slice(1, -1)]
  return digitsApart((apart === word ? ways : [...ways, apart]).join('\n'), word)
}

/** A part of a long series of letters, of which most have the gap `usual` behind them. */
export function spelledPart(text: string, places: readonly number[], usual: string): string {
  const word = wordIn(text, places, usual)
  return digitsApart(word, word)
}

/** What is told of a word, and the word without its digits. */
function digitsApart(told: string, word: string): string {
  const letters = word.replaceAll(/\d+/g, ' ')
  return letters === word ? told : `${told}\n${letters}`
}

/** Digits with something between them are dates and numbers. */
export function isMostlyDigits(text: string, places: readonly number[]): boolean {
  return lettersOf(text, places) * 4 <= places.length
}

/** Letters that follow each other among digits and are enough for a word, by their places. */
export function letterRuns(text: string, places: readonly number[]): readonly number[][] {
  const runs: number[][] = []
  let run: number[] = []
  for (let i = 0; i <= places.length; i += 2) {
    const start = places[i]
    if (start !== undefined && !isDigit(text.charCodeAt(start))) {
      run.push(start, places[i + 1] ?? start)
      continue
    }
    if (run.length >= 2 * SERIES_MIN) runs.push(run)
    run = []
  }
  return runs
}

/** Where in `places` the letters begin behind the last digit; its length where a digit is last. */
export function lettersFrom(text: string, places: readonly number[]): number {
  let from = places.length
  while (from > 0 && !isDigit(text.charCodeAt(places[from - 2] ?? 0))) from -= 2
  return from
}

function lettersOf(text: string, places: readonly number[]): number {
  let letters = 0
  for (let i = 0; i < places.length; i += 2) {
    if (!isDigit(text.charCodeAt(places[i] ?? 0))) letters++
  }
  return letters
}

/** A word ends where the gap is wider than the usual one, or a space where others have none. */
function wordIn(text: string, places: readonly number[], usual: string): string {
  return wordOf(text, places, (before, start) => {
    const isWider = start - before > usual.length
    return isWider || (!text.startsWith(usual, before) && /\s/.test(text.slice(before, start)))
  })
}

function wordOf(
  text: string,
  places: readonly number[],
  ends: (before: number, start: number) => boolean,
): string {
  const units = new Uint16Array(places.length + 1)
  let count = 0
  for (let i = 0; i < places.length; i += 2) {
    const start = places[i] ?? 0
    if (i > 0 && ends(places[i - 1] ?? 0, start)) units[count++] = 0x20
    if ((places[i + 1] ?? 0) > start) units[count++] = text.charCodeAt(start)
  }
  return Buffer.from(units.buffer, 0, count * 2).toString('utf16le')
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39
}

/** The gap that most of the first letters have behind them. */
export function usualGap(text: string, places: readonly number[]): string {
  const counts = new Map<string, number>()
  let usual = ''
  for (let i = 2; i < places.length && i < 2 * GAPS_SEEN_MAX; i += 2) {
    const gap = text.slice(places[i - 1], places[i])
    const count = (counts.get(gap) ?? 0) + 1
    counts.set(gap, count)
    if (count > (counts.get(usual) ?? 0)) usual = gap
  }
  return usual
}

const GAPS_SEEN_MAX = 64
