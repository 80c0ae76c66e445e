/** Tokens of a prompt where the provider tells what its cache had apart. */
import { type Json, readCount } from './answer-json.ts'

/** What each part of the figure is called, the first that is told counts. */
export interface PartNames {
  readonly fresh: readonly string[]
  readonly read: readonly string[]
  readonly written: readonly string[]
}

/** The parts told so far, null where none was. */
export interface PromptParts {
  readonly fresh: number | null
  readonly read: number | null
  readonly written: number | null
}

/** Before anything was told. */
export const NO_PARTS: PromptParts = { fresh: null, read: null, written: null }

/**
 * The parts after one more `usage`. Streams tell them several times and not always all of them: one that
 * is left out, or null, stays what it was.
 */
export function addParts(parts: PromptParts, usage: Json, names: PartNames): PromptParts {
  return {
    fresh: firstCount(usage, names.fresh) ?? parts.fresh,
    read: firstCount(usage, names.read) ?? parts.read,
    written: firstCount(usage, names.written) ?? parts.written,
  }
}

/** The whole prompt: what was read from a cache or written to one is left out of `fresh`. */
export function promptTokens({ fresh, read, written }: PromptParts): number | null {
  return fresh === null ? null : fresh + (read ?? 0) + (written ?? 0)
}

/** The first of `names` that is a count in `usage`. */
export function firstCount(usage: Json, names: readonly string[]): number | null {
  for (const name of names) {
    const count = readCount(usage[name])
    if (count !== null) return count
  }
  return null
}
