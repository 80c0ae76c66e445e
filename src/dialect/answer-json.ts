/** What answers of any provider say of themselves, read without trust. */
import type { Usage } from '../exchange.ts'

/** Larger answers are not parsed; their usage is looked for in the text. */
export const PARSED_BYTES_MAX = 256 * 1024
/** How much of the end of a large answer is looked at: `usage` is among the last members. */
export const TAIL_BYTES = 64 * 1024

const NAME_CHARS_MAX = 256

/** A JSON object of which nothing is known. */
export type Json = Readonly<Record<string, unknown>>

/** What is known before anything was reported. */
export const NO_USAGE: Usage = {
  inputTokens: null,
  outputTokens: null,
  cachedTokens: null,
  reasoningTokens: null,
  responseModel: null,
  responseId: null,
}

/** `value` as an object; null for everything else. */
export function asObject(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : null
}

/** The object in a JSON text; null when it is none. Never throws. */
export function parseObject(text: string): Json | null {
  try {
    return asObject(JSON.parse(text))
  } catch {
    return null
  }
}

/** No context is larger: whoever reports more than this is not believed. */
const COUNT_MAX = 1_000_000_000

/** A count as an answer gives it; null when it gives none that can be. */
export function readCount(value: unknown): number | null {
  if (!Number.isSafeInteger(value)) return null
  const count = value as number
  return count >= 0 && count <= COUNT_MAX ? count : null
}

/** A model name or id as an answer gives it, cut at 256 characters; null when it gives none. */
export function readName(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value.slice(0, NAME_CHARS_MAX) : null
}
