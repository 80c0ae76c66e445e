/** Finds the usage of a long answer in the text of its end, without parsing the rest. */
import { type Json, parseObject } from './answer-json.ts'

const USAGE_BYTES_MAX = 4096
/** The second one is Cohere's, at the end of its embeddings. */
const USAGE_KEYS = ['"usage"', '"billed_units"'] as const
const BEFORE_OBJECT = /\s{0,64}:\s{0,64}(?=\{)/y

/**
 * The last `"usage":{…}` in the end of an answer. Text the model wrote cannot pass for it: inside a
 * JSON string its quotes are escaped.
 */
export function searchUsage(tail: Buffer): Json | null {
  const text = tail.toString('latin1')
  for (const key of USAGE_KEYS) {
    const found = text.lastIndexOf(key)
    if (found !== -1) return usageAt(text, found, key.length)
  }
  return null
}

/** The object of the member whose key is at `found`; null where none stands there. */
export function usageAt(text: string, found: number, keyChars = USAGE_KEYS[0].length): Json | null {
  BEFORE_OBJECT.lastIndex = found + keyChars
  if (!BEFORE_OBJECT.test(text)) return null
  const from = BEFORE_OBJECT.lastIndex
  return parseObject(text.slice(from, objectEnd(text, from)))
}

/**
 * Where the object at `from` ends, or how far it is looked for; usage objects hold no braces in strings.
 */
export function objectEnd(text: string, from: number): number {
  const end = Math.min(text.length, from + USAGE_BYTES_MAX)
  let depth = 0
  for (let at = from; at < end; at++) {
    const unit = text.charCodeAt(at)
    if (unit === 0x7b) depth++
    else if (unit === 0x7d && --depth === 0) return at + 1
  }
  return end
}
