/** Usage figures of an answer, in either of OpenAI's two vocabularies. */
import type { Usage } from '../exchange.ts'
import {
  asObject,
  type Json,
  NO_USAGE,
  parseObject,
  PARSED_BYTES_MAX,
  readCount,
  readName,
  TAIL_BYTES,
} from './answer-json.ts'
import { searchUsage, usageAt } from './usage-search.ts'

const HEAD_BYTES = 4096

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

const MODEL_MEMBER = /"model"\s*:\s*"([^"\\]{1,256})"/
const ID_MEMBER = /"id"\s*:\s*"([^"\\]{1,256})"/

function searchName(text: string, member: RegExp): string | null {
  return readName(member.exec(text)?.[1])
}
