import { ANTHROPIC_ROWS } from '../../src/dialect/anthropic-table.ts'
import { AZURE_ROWS } from '../../src/dialect/azure-openai.ts'
import { BEDROCK_ROWS } from '../../src/dialect/bedrock-table.ts'
import {
  ANTHROPIC_CLOSED,
  type Closed,
  GEMINI_CLOSED,
  OLLAMA_CLOSED,
  OPENAI_CLOSED,
} from '../../src/dialect/closed.ts'
import { GEMINI_ROWS } from '../../src/dialect/gemini-table.ts'
import { OLLAMA_ROWS } from '../../src/dialect/ollama.ts'
import { OPENAI_ROWS } from '../../src/dialect/openai-table.ts'
import type { Row } from '../../src/dialect/table.ts'
import { DIALECTS } from '../../src/dialects.ts'
import type { Dialect } from '../../src/exchange.ts'
import type { SocketReader } from '../../src/nouns/socket-events.ts'
import { sampleCall } from './samples.ts'

/** Which control is claimed to run on which endpoint; `coverage.test.ts` makes each claim true. */

export const TABLES: Readonly<Record<string, readonly Row[]>> = {
  openai: OPENAI_ROWS,
  anthropic: ANTHROPIC_ROWS,
  'azure-openai': AZURE_ROWS,
  gemini: GEMINI_ROWS,
  bedrock: BEDROCK_ROWS,
  ollama: OLLAMA_ROWS,
}

/** What of each API is known and closed. */
export const CLOSED: Readonly<Record<string, readonly Closed[]>> = {
  openai: OPENAI_CLOSED,
  anthropic: ANTHROPIC_CLOSED,
  gemini: GEMINI_CLOSED,
  ollama: OLLAMA_CLOSED,
}

/** Endpoints that stream when asked. */
const STREAMED: ReadonlySet<string> = new Set([
  'converse_stream',
  'invoke_stream',
  'chat.completions',
  'responses',
  'cohere.chat',
  'completions',
  'images.generations',
  'images.edits',
  'audio.speech',
  'audio.transcriptions',
  'threads.runs.create_both',
  'threads.runs.create',
  'threads.runs.submit',
  'messages',
  'streamGenerateContent',
  'api.chat',
  'api.generate',
])
/** Endpoints whose answers say what was used. */
const REPORTING: ReadonlySet<string> = new Set([
  'chat.completions',
  'responses',
  'responses.compact',
  'cohere.chat',
  'cohere.embed',
  'completions',
  'embeddings',
  'decisions',
  'images.generations',
  'images.edits',
  'images.variations',
  'audio.transcriptions',
  'audio.translations',
  'threads.runs.create_both',
  'threads.runs.create',
  'threads.runs.submit',
  'converse',
  'converse_stream',
  'invoke',
  'invoke_stream',
  'messages',
  'generateContent',
  'streamGenerateContent',
  'api.chat',
  'api.generate',
  'api.embed',
])

/** What is claimed of one endpoint. */
export interface Claims {
  /** Where the model is that policies see; none is asked to do anything where it is `-`. */
  readonly model: 'path' | 'body' | '-'
  readonly text: boolean
  readonly streams: boolean
  /** Whether usage of a whole answer is in the entry. */
  readonly usage: boolean
  /** And that of a stream. */
  readonly usageStreamed: boolean
}

const PROBE = 'probe-model'

/** Of Google's OpenAI path a client asks for usage itself. */
function isUnasked({ path }: Row): boolean {
  return path === '/v1beta/openai/chat/completions'
}

export function claimsOf(row: Row): Claims {
  const { api, body } = row.endpoint
  const streams = STREAMED.has(api)
  const { body: sample } = sampleCall(row, { model: PROBE, text: 'a' }, false)
  const named = Buffer.isBuffer(sample) ? sample.toString() : JSON.stringify(sample ?? null)
  const inBody = named.includes(PROBE) ? 'body' : '-'
  const usage = REPORTING.has(api)
  return {
    model: row.path.includes('{model}') ? 'path' : inBody,
    text: body !== 'none',
    streams,
    usage,
    usageStreamed: streams && !isUnasked(row) && (usage || api === 'audio.speech'),
  }
}

/** Kinds of sessions by dialect; absent where it has none. */
export const SOCKETS: Readonly<Record<string, readonly SocketReader[]>> = Object.fromEntries(
  Object.values(DIALECTS).flatMap(({ name, sockets = [] }: Dialect) =>
    sockets.length === 0 ? [] : [[name, sockets]],
  ),
)

/** Names of the events after the first message, as `api` has them. */
export function eventsOf(reader: SocketReader): readonly string[] {
  return [...reader.events].filter((type) => type !== 'setup')
}

/** Whether an event asks for what a model produces; what it took is told when that has come. */
export function producesOutput(type: string): boolean {
  return type === 'response.create' || type === 'clientContent'
}

/** The table of a dialect as Markdown: every endpoint has every control that is not marked with a dash. */
export function endpointsMarkdown(): string {
  const parts = Object.entries(TABLES).map(([dialect, rows]) => {
    const head = [
      `## ${dialect}`,
      '',
      '| endpoint | operation | api | model | text | streams | usage |',
      '| --- | --- | --- | --- | --- | --- | --- |',
    ]
    const lines = [...rows.map(line), ...(SOCKETS[dialect] ?? []).flatMap(sessionLines)]
    return [...head, ...lines, ...(CLOSED[dialect] ?? []).flatMap(closedLines)].join('\n')
  })
  return `${parts.join('\n\n')}\n`
}

/** Where only one of the two forms says what was used. */
const REPORTED: Readonly<Record<string, string>> = {
  'true false': 'not streamed',
  'false true': 'streamed',
  'false false': '-',
}

function yes(claimed: boolean): string {
  return claimed ? 'yes' : '-'
}

function line(row: Row): string {
  const { method, path, endpoint } = row
  const { model, text, streams, usage, usageStreamed } = claimsOf(row)
  const reported =
    usage && streams === usageStreamed ? 'yes' : REPORTED[`${usage} ${usageStreamed}`]
  return `| \`${method} ${path}\` | \`${endpoint.operation}\` | \`${endpoint.api}\` | ${model} | ${yes(text)} | ${yes(streams)} | ${reported} |`
}

/** What is refused on purpose, a paragraph each. */
function closedLines({ what, why }: Closed, index: number): string[] {
  return [...(index === 0 ? ['', 'Closed:', ''] : []), `- ${what}: ${why}`]
}

/** Where a session is opened, then what may be said in it. */
function sessionLines(reader: SocketReader): string[] {
  const { paths, endpoint, first } = reader
  const opening = [...paths].map((path) => {
    const model = first === undefined ? 'query' : `first ${first}`
    const text = first === 'setup' ? 'yes' : '-'
    return `| \`GET ${path}\`, WebSocket | \`${endpoint.operation}\` | \`${endpoint.api}\` | ${model} | ${text} | - | - |`
  })
  const events = eventsOf(reader).map((type) => {
    const { operation, api } = reader.eventEndpoint({ type, produces: producesOutput(type) })
    const model = reader.keepsModels ? 'session' : 'event'
    const streams = producesOutput(type)
    return `| \`${type}\` in it | \`${operation}\` | \`${api}\` | ${model} | yes | ${yes(streams)} | ${yes(streams)} |`
  })
  return [...opening, ...events]
}
