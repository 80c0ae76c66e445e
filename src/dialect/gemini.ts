/** The Gemini API: content, embeddings, token counts, models, and OpenAI's paths that Google serves. */
import type { Dialect, Facts, Lookup, Meter, ParameterNames, Route } from '../exchange.ts'
import { closedHint, GEMINI_CLOSED } from './closed.ts'
import { geminiAnswers } from './gemini-answers.ts'
import { errorBody } from './gemini-errors.ts'
import { inspect } from './gemini-inspect.ts'
import { geminiLive, inspectSetup } from './gemini-live.ts'
import { meter } from './gemini-meter.ts'
import { GEMINI_ROWS } from './gemini-table.ts'
import { parameters as openaiParameters } from './openai-parameters.ts'
import { openai } from './openai.ts'
import type { ParameterTable } from './set-members.ts'
import { compileTable } from './table.ts'

const TABLE = compileTable(GEMINI_ROWS)
const GENERATING: ReadonlySet<string> = new Set(['generateContent', 'streamGenerateContent'])
const LIVE = 'live'
const PARAMETERS = parametersIn('')
const LIVE_PARAMETERS = parametersIn('setup.')

/** Parameters of the generation config below `root`, under both names of the object they are in. */
function parametersIn(root: string): ParameterTable {
  const outer = [`${root}generationConfig`, `${root}generation_config`]
  const both = (...inner: readonly string[]): ParameterNames => {
    return { names: outer.flatMap((name) => inner.map((each) => `${name}.${each}`)) }
  }
  return {
    max_output_tokens: both('maxOutputTokens', 'max_output_tokens'),
    n: both('candidateCount', 'candidate_count'),
    temperature: both('temperature'),
    top_p: both('topP', 'top_p'),
    presence_penalty: both('presencePenalty', 'presence_penalty'),
    frequency_penalty: both('frequencyPenalty', 'frequency_penalty'),
  }
}

const COMPATIBLE = '/v1beta/openai/'

const ROOT = /^\/(?:v1beta|v1alpha|ws)(?:\/|$)/
/** Where credentials are used that were made elsewhere. */
const EPHEMERAL = /\.BidiGenerateContentConstrained$/
const NO_TOKENS = 'Ephemeral tokens would go around it: open the session here, with a Governor key'

/**
 * After the error that ends a stream: a comment, which readers of event streams leave out. Google's former
 * clients (`@google/generative-ai`, `@google/genai` before it looked for errors) take the event for an
 * empty answer and end in peace, but throw where something is left over.
 */
const LEFT_OVER = ': the answer broke off'

/** The dialect of Gemini. The path names the model. */
export const gemini: Dialect = {
  name: 'gemini',
  requestIdHeader: 'x-request-id',
  requestHeaders: ['accept', 'traceparent', 'user-agent', 'x-goog-api-client', 'x-stainless-*'],
  responseHeaders: [
    'cache-control',
    'content-type',
    'retry-after',
    'server-timing',
    'x-request-id',
  ],
  lookup,
  inspect: inspectEither,
  credential: (secret) => ({ 'x-goog-api-key': secret }),
  answers: geminiAnswers,
  sockets: [geminiLive],
  errorBody,
  errorFrame: (error, requestId) => `data: ${errorBody(error, requestId)}\n\n${LEFT_OVER}`,
  meter: meterEither,
  parameters: (api) => {
    if (api === LIVE) return LIVE_PARAMETERS
    return GENERATING.has(api) ? PARAMETERS : openaiParameters(api)
  },
}

function lookup(method: string, path: string): Lookup {
  const found = TABLE.find(method, path)
  // A verb that is closed looks like the name of a model that can be read.
  if (found !== null && found.kind !== 'method') return found
  const hint = hintOf(path)
  if (hint !== undefined) return { kind: 'unknown', hint }
  if (found !== null) return found
  return ROOT.test(path) ? { kind: 'unknown' } : { kind: 'outside' }
}

function hintOf(path: string): string | undefined {
  if (EPHEMERAL.test(path)) return NO_TOKENS
  const closed = closedHint(GEMINI_CLOSED, path)
  if (closed !== undefined) return closed
  const beta = path.replace(/^\/v1alpha\//, '/v1beta/')
  return beta !== path && TABLE.find('POST', beta) !== null
    ? `Use ${beta}: version v1alpha is not known here.`
    : undefined
}

function inspectEither(
  route: Route,
  body: Buffer,
  maximums: { readonly jsonDepth: number },
): Promise<Facts> {
  if (route.endpoint.api === LIVE) return inspectSetup(body, maximums)
  const isCompatible = route.path.startsWith(COMPATIBLE)
  return isCompatible ? openai.inspect(route, body, maximums) : inspect(route, body, maximums)
}

function meterEither(route: Route, facts: Facts, asked: boolean): Meter {
  return route.path.startsWith(COMPATIBLE) ? openai.meter(route, facts, asked) : meter()
}
