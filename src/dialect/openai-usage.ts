/** Usage figures of an answer, in either of OpenAI's two vocabularies. */
import type { Usage } from '../exchange.ts'

/** Larger answers are not parsed; their usage is looked for in the text. */
export const PARSED_BYTES_MAX = 256 * 1024
/** How much of the end of a large answer is looked at: `usage` is among the last members. */
export const TAIL_BYTES = 64 * 1024

const HEAD_BYTES = 4096
const USAGE_BYTES_MAX = 4096
const NAME_CHARS_MAX = 256

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

/** Token counts of a `usage` object; a field it does not report is null. */
export function readTokens(told: Json): Omit<Usage, 'responseModel' | 'responseId'> {
  // Cohere tells what it charges for beside what went through the model.
  const usage = asObject(told['billed_units']) ?? asObject(told['tokens']) ?? told
  const input = asObject(usage['prompt_tokens_details'] ?? usage['input_tokens_details'])
  const output = asObject(usage['completion_tokens_details'] ?? usage['output_tokens_details'])
  return {
    inputTokens: readCount(usage['prompt_tokens'] ?? usage['input_tokens']),
    outputTokens: readCount(usage['completion_tokens'] ?? usage['output_tokens']),
    cachedTokens: readCount(input?.['cached_tokens']),
    reasoningTokens: readCount(output?.['reasoning_tokens']),
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

/** How chat answers begin, `object` where OpenAI has it or further down; anything else is parsed. */
const CHAT_HEAD =
  /^\{\s*"id"\s*:\s*"([\w.:/@-]{1,256})"\s*,\s*(?:"object"\s*:\s*"chat\.completion"\s*,\s*)?"created"\s*:\s*\d+\s*,\s*"model"\s*:\s*"([\w.:/@-]{1,256})"/

/**
 * Usage of a whole JSON answer (chat completion, response, embeddings), or of the end of one that was
 * too long to keep. Never throws.
 */
export function readAnswer(body: Buffer): Usage {
  if (body.length > PARSED_BYTES_MAX) return searchAnswer(body)
  return readChat(body) ?? readParsed(body) ?? searchEnd(body)
}

/** The usual chat answer, without parsing its text; null when it is anything unusual. */
function readChat(body: Buffer): Usage | null {
  const text = body.toString('latin1')
  const found = text.lastIndexOf('"usage"')
  // The other way round in the bytes, where that search costs half.
  if (found === -1 || body.indexOf('"usage"') !== found) return null
  const names = CHAT_HEAD.exec(text)
  const usage = names === null ? null : usageAt(text, found)
  if (names === null || usage === null) return null
  const told = withNames(usage, readName(names[2]), readName(names[1]))
  return withTier(told, TIER_MEMBER.exec(text.slice(found))?.[1])
}

function readParsed(body: Buffer): Usage | null {
  const answer = parseObject(body.toString('utf8'))
  if (answer === null) return null
  // Cohere's embeddings tell it in `meta`.
  const usage = asObject(answer['usage']) ?? asObject(answer['meta'])
  const told = withNames(usage, readName(answer['model']), readName(answer['id']))
  return withTier(told, answer['service_tier'])
}

const TIER_MEMBER = /"service_tier"\s*:\s*"(\w{1,32})"/

/** The same usage, which names the provider's rate where it is not the usual one. */
export function withTier(usage: Usage, tier: unknown): Usage {
  return tier === 'flex' || tier === 'batch' ? { ...usage, serviceTier: tier } : usage
}

function withNames(
  usage: Json | null,
  responseModel: string | null,
  responseId: string | null,
): Usage {
  const { inputTokens, outputTokens, cachedTokens, reasoningTokens } =
    usage === null ? NO_USAGE : readTokens(usage)
  return {
    inputTokens,
    outputTokens,
    cachedTokens,
    reasoningTokens,
    responseModel,
    responseId,
  }
}

function searchAnswer(body: Buffer): Usage {
  const head = body.toString('latin1', 0, HEAD_BYTES)
  const { responseModel, ...end } = searchEnd(body)
  const model = searchName(head, MODEL_MEMBER) ?? responseModel
  return { ...end, responseModel: model, responseId: searchName(head, ID_MEMBER) }
}

function searchEnd(body: Buffer): Usage {
  const tail = body.subarray(-TAIL_BYTES)
  return withNames(searchUsage(tail), searchName(tail.toString('latin1'), MODEL_MEMBER), null)
}

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

/** The object of the member whose key is at `found`. */
function usageAt(text: string, found: number, keyChars = USAGE_KEYS[0].length): Json | null {
  BEFORE_OBJECT.lastIndex = found + keyChars
  if (!BEFORE_OBJECT.test(text)) return null
  const from = BEFORE_OBJECT.lastIndex
  return parseObject(text.slice(from, objectEnd(text, from)))
}

/** The second one is Cohere's, at the end of its embeddings. */
const USAGE_KEYS = ['"usage"', '"billed_units"'] as const
const BEFORE_OBJECT = /\s{0,64}:\s{0,64}(?=\{)/y

/** Where the object at `from` ends; usage objects hold no braces in strings. */
function objectEnd(text: string, from: number): number {
  const end = Math.min(text.length, from + USAGE_BYTES_MAX)
  let depth = 0
  for (let at = from; at < end; at++) {
    const unit = text.charCodeAt(at)
    if (unit === 0x7b) depth++
    else if (unit === 0x7d && --depth === 0) return at + 1
  }
  return end
}

const MODEL_MEMBER = /"model"\s*:\s*"([^"\\]{1,256})"/
const ID_MEMBER = /"id"\s*:\s*"([^"\\]{1,256})"/

function searchName(text: string, member: RegExp): string | null {
  return readName(member.exec(text)?.[1])
}
