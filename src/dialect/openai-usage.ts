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
export function readTokens(usage: Json): Omit<Usage, 'responseModel' | 'responseId'> {
  const input = asObject(usage['prompt_tokens_details'] ?? usage['input_tokens_details'])
  const output = asObject(usage['completion_tokens_details'] ?? usage['output_tokens_details'])
  return {
    inputTokens: count(usage['prompt_tokens'] ?? usage['input_tokens']),
    outputTokens: count(usage['completion_tokens'] ?? usage['output_tokens']),
    cachedTokens: count(input?.['cached_tokens']),
    reasoningTokens: count(output?.['reasoning_tokens']),
  }
}

function count(value: unknown): number | null {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : null
}

/** A model name or id as an answer gives it, cut at 256 characters; null when it gives none. */
export function readName(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value.slice(0, NAME_CHARS_MAX) : null
}

/** Usage of a whole JSON answer (chat completion, response, embeddings). Never throws. */
export function readAnswer(body: Buffer): Usage {
  if (body.length > PARSED_BYTES_MAX) return searchAnswer(body)
  const answer = parseObject(body.toString('utf8'))
  if (answer === null) return NO_USAGE
  const usage = asObject(answer['usage'])
  return {
    ...NO_USAGE,
    ...(usage === null ? {} : readTokens(usage)),
    responseModel: readName(answer['model']),
    responseId: readName(answer['id']),
  }
}

function searchAnswer(body: Buffer): Usage {
  const head = body.toString('latin1', 0, HEAD_BYTES)
  const tail = body.subarray(-TAIL_BYTES)
  const usage = searchUsage(tail)
  const model = searchName(head, 'model') ?? searchName(tail.toString('latin1'), 'model')
  return {
    ...NO_USAGE,
    ...(usage === null ? {} : readTokens(usage)),
    responseModel: model,
    responseId: searchName(head, 'id'),
  }
}

/**
 * The last `"usage":{…}` in the end of an answer. Text the model wrote cannot pass for it: inside a
 * JSON string its quotes are escaped.
 */
export function searchUsage(tail: Buffer): Json | null {
  const text = tail.toString('latin1')
  const found = text.lastIndexOf('"usage"')
  if (found === -1) return null
  const start = /^\s*:\s*(?=\{)/.exec(text.slice(found + 7, found + 7 + 64))
  if (start === null) return null
  const from = found + 7 + start[0].length
  const candidate = text.slice(from, from + USAGE_BYTES_MAX)
  return parseObject(candidate.slice(0, objectChars(candidate)))
}

/** Length of the object that `text` begins with; usage objects hold no braces in strings. */
function objectChars(text: string): number {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '{') depth++
    else if (character === '}' && --depth === 0) return at + 1
  }
  return text.length
}

function searchName(text: string, member: string): string | null {
  const match = new RegExp(`"${member}"\\s*:\\s*"([^"\\\\]{1,256})"`).exec(text)
  return readName(match?.[1])
}
