import { ANTHROPIC_ROWS } from '../../src/dialect/anthropic-table.ts'
import { AZURE_ROWS } from '../../src/dialect/azure-openai.ts'
import { BEDROCK_ROWS } from '../../src/dialect/bedrock-table.ts'
import { GEMINI_ROWS } from '../../src/dialect/gemini-table.ts'
import { OLLAMA_ROWS } from '../../src/dialect/ollama.ts'
import { OPENAI_ROWS } from '../../src/dialect/openai-table.ts'
import type { Row } from '../../src/dialect/table.ts'
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

/** Endpoints that stream when asked. */
const STREAMED: ReadonlySet<string> = new Set([
  'converse_stream',
  'invoke_stream',
  'chat.completions',
  'responses',
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
  'completions',
  'embeddings',
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

/** The table of a dialect as Markdown: every endpoint has every control that is not marked with a dash. */
export function endpointsMarkdown(): string {
  const parts = Object.entries(TABLES).map(([dialect, rows]) => {
    const head = [
      `## ${dialect}`,
      '',
      '| endpoint | operation | api | model | text | streams | usage |',
      '| --- | --- | --- | --- | --- | --- | --- |',
    ]
    return [...head, ...rows.map(line)].join('\n')
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
