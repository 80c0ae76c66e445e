import type { GovernorError } from '../errors.ts'
/** The Gemini API: content, embeddings, token counts, models, and OpenAI's paths that Google serves. */
import type { Dialect, Facts, Lookup, Meter, ParameterNames, Route } from '../exchange.ts'
import { geminiAnswers } from './gemini-answers.ts'
import { inspect } from './gemini-inspect.ts'
import { meter } from './gemini-meter.ts'
import { GEMINI_ROWS } from './gemini-table.ts'
import { parameters as openaiParameters } from './openai-parameters.ts'
import { openai } from './openai.ts'
import type { ParameterTable } from './set-members.ts'
import { compileTable } from './table.ts'

const TABLE = compileTable(GEMINI_ROWS)
const GENERATING: ReadonlySet<string> = new Set(['generateContent', 'streamGenerateContent'])
const PARAMETERS: ParameterTable = {
  max_output_tokens: both('maxOutputTokens', 'max_output_tokens'),
  n: both('candidateCount', 'candidate_count'),
  temperature: both('temperature'),
  top_p: both('topP', 'top_p'),
  presence_penalty: both('presencePenalty', 'presence_penalty'),
  frequency_penalty: both('frequencyPenalty', 'frequency_penalty'),
}

/** A parameter under both names of the object it is in. */
function both(...inner: readonly string[]): ParameterNames {
  const outer = ['generationConfig', 'generation_config']
  return { names: outer.flatMap((name) => inner.map((each) => `${name}.${each}`)) }
}

const COMPATIBLE = '/v1beta/openai/'

/** Google's words for a status; others are INVALID_ARGUMENT below 500 and INTERNAL above. */
const STATUS: Readonly<Record<number, string>> = {
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  499: 'CANCELLED',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}

/** The dialect of Gemini. The path names the model. */
export const gemini: Dialect = {
  name: 'gemini',
  requestIdHeader: 'x-request-id',
  requestHeaders: ['accept', 'traceparent', 'user-agent', 'x-goog-api-client', 'x-stainless-*'],
  responseHeaders: ['cache-control', 'content-type', 'retry-after', 'server-timing'],
  lookup,
  inspect: inspectEither,
  credential: (secret) => ({ 'x-goog-api-key': secret }),
  answers: geminiAnswers,
  errorBody,
  errorFrame: (error, requestId) => `data: ${errorBody(error, requestId)}\n\n`,
  meter: meterEither,
  parameters: (api) => (GENERATING.has(api) ? PARAMETERS : openaiParameters(api)),
}

function lookup(method: string, path: string): Lookup {
  const found = TABLE.find(method, path)
  if (found !== null) return found
  return path === '/v1beta' || path.startsWith('/v1beta/')
    ? { kind: 'unknown' }
    : { kind: 'outside' }
}

function inspectEither(
  route: Route,
  body: Buffer,
  maximums: { readonly jsonDepth: number },
): Promise<Facts> {
  const isCompatible = route.path.startsWith(COMPATIBLE)
  return isCompatible ? openai.inspect(route, body, maximums) : inspect(route, body, maximums)
}

function meterEither(route: Route, facts: Facts, asked: boolean): Meter {
  return route.path.startsWith(COMPATIBLE) ? openai.meter(route, facts, asked) : meter()
}

/** `{"error":{"code","message","status"}}`, which OpenAI's clients read as well. */
function errorBody(error: GovernorError, requestId: string): string {
  const { status: code, message } = error
  const status = STATUS[code] ?? (code < 500 ? 'INVALID_ARGUMENT' : 'INTERNAL')
  const text = error.code === 'INTERNAL' ? `${message} (request ${requestId})` : message
  return JSON.stringify({ error: { code, message: text, status } })
}
