import type { Row } from '../../src/dialect/table.ts'
import type { Sent } from '../support/client.ts'

/** A body for every endpoint that takes one, with a text and a model where it has a place for them. */

interface Wanted {
  readonly text: string
  readonly model: string
}

type Sample = (wanted: Wanted) => object

const messages: Sample = ({ model, text }) => ({
  model,
  max_tokens: 9,
  messages: [{ role: 'user', content: text }],
})
const input: Sample = ({ model, text }) => ({ model, input: text })
const prompt: Sample = ({ model, text }) => ({ model, prompt: text })
const named: Sample = ({ model, text }) => ({ model, instructions: text })
const noted: Sample = ({ text }) => ({ metadata: { note: text } })
const converse: Sample = ({ text }) => ({
  messages: [{ role: 'user', content: [{ text }] }],
})
const contents: Sample = ({ text }) => ({ contents: [{ parts: [{ text }] }] })

/** By dialect and `api`; a body that is the same everywhere stands without a dialect. */
const SAMPLES: Readonly<Record<string, Sample>> = {
  'chat.completions': messages,
  responses: input,
  'responses.compact': input,
  'responses.input_tokens': input,
  completions: prompt,
  embeddings: input,
  moderations: input,
  'images.generations': prompt,
  'images.edits': prompt,
  'audio.speech': input,
  decisions: (wanted) => ({
    ...input(wanted),
    questions: [{ type: 'predicate', instructions: 'Is it?' }],
  }),
  'voice_consents.update': ({ text }) => ({ name: text }),
  'videos.create': prompt,
  'videos.edits': ({ text }) => ({ prompt: text, video: { id: 'v' } }),
  'videos.extensions': ({ text }) => ({ prompt: text, seconds: '4', video: { id: 'v' } }),
  'videos.remix': ({ text }) => ({ prompt: text }),
  'skills.create': noted,
  'skills.update': ({ text }) => ({ default_version: text }),
  'skills.versions.create': noted,
  rerank: ({ model, text }) => ({ model, query: 'q', documents: [text] }),
  score: ({ model, text }) => ({ model, text_1: 'a', text_2: text }),
  'cohere.chat': messages,
  'cohere.embed': ({ model, text }) => ({ model, texts: [text], input_type: 'search_query' }),
  tokenize: prompt,
  detokenize: ({ model, text }) => ({ model, tokens: [1, 2], note: text }),
  'chat.completions.update': noted,
  'conversations.create': ({ text }) => ({ items: [{ role: 'user', content: text }] }),
  'conversations.update': noted,
  'conversations.items.create': ({ text }) => ({ items: [{ role: 'user', content: text }] }),
  'containers.create': ({ text }) => ({ name: text }),
  'containers.files.create': ({ text }) => ({ file_id: 'f', note: text }),
  'vector_stores.create': ({ text }) => ({ name: text }),
  'vector_stores.update': noted,
  'vector_stores.search': ({ text }) => ({ query: [text] }),
  'vector_stores.files.create': ({ text }) => ({ file_id: 'f', attributes: { note: text } }),
  'vector_stores.files.update': ({ text }) => ({ attributes: { note: text } }),
  'vector_stores.batches.create': ({ text }) => ({ file_ids: ['f'], attributes: { note: text } }),
  'assistants.create': named,
  'assistants.update': named,
  'threads.create': ({ text }) => ({ messages: [{ role: 'user', content: text }] }),
  'threads.update': noted,
  'threads.messages.create': ({ text }) => ({ role: 'user', content: text }),
  'threads.messages.update': noted,
  'threads.runs.create_both': named,
  'threads.runs.create': named,
  'threads.runs.update': noted,
  'threads.runs.submit': ({ text }) => ({ tool_outputs: [{ tool_call_id: 'c', output: text }] }),
  'batches.create': ({ text }) => ({
    input_file_id: 'f',
    endpoint: '/v1/responses',
    metadata: { note: text },
  }),
  'fine_tuning.create': ({ model, text }) => ({ model, training_file: 'f', suffix: text }),
  'graders.run': ({ model, text }) => ({ grader: { model, input: [{ content: text }] } }),
  'graders.validate': ({ model, text }) => ({ grader: { model, input: [{ content: text }] } }),
  'evals.create': ({ model, text }) => ({ testing_criteria: [{ model, name: text }] }),
  'evals.update': noted,
  'evals.runs.create': ({ model, text }) => ({ name: text, data_source: { model } }),
  messages,
  'messages.count_tokens': messages,
  'messages.batches.create': (wanted) => ({
    requests: [{ custom_id: 'c', params: messages(wanted) }],
  }),
  generateContent: contents,
  streamGenerateContent: contents,
  countTokens: contents,
  embedContent: ({ text }) => ({ content: { parts: [{ text }] } }),
  batchEmbedContents: ({ text, model }) => ({
    requests: [{ model, content: { parts: [{ text }] } }],
  }),
  converse,
  converse_stream: converse,
  invoke: ({ text }) => ({ inputText: text }),
  invoke_stream: ({ text }) => ({
    anthropic_version: 'bedrock-2023-05-31',
    max_tokens: 9,
    messages: [{ role: 'user', content: text }],
  }),
  count_tokens: (wanted) => ({ input: { converse: converse(wanted) } }),
  'api.show': ({ model, text }) => ({ model, note: text }),
  'api.chat': messages,
  'api.generate': prompt,
  'api.embed': input,
  'api.embeddings': prompt,
}

/** What a form is set apart by here. */
const BOUNDARY = 'sample-boundary'
const FORM_TYPE = { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` }
/** A file, beside fields. */
const FILES: Readonly<Record<string, string>> = {
  'images.variations': 'image',
  'voices.create': 'audio_sample',
  'voice_consents.create': 'recording',
  'videos.characters.create': 'video',
}
const FORM_FIELDS: Readonly<Record<string, Sample>> = {
  'images.variations': ({ model, text }) => ({ model, user: text }),
  'audio.transcriptions': prompt,
  'audio.translations': prompt,
  content_provenance_checks: ({ text }) => ({ note: text }),
  'voices.create': ({ text }) => ({ name: text, consent: 'cons_1' }),
  'voice_consents.create': ({ text }) => ({ name: text, language: 'en-US' }),
  'videos.characters.create': ({ text }) => ({ name: text }),
  'files.create': ({ text }) => ({ purpose: 'user_data', 'expires_after[anchor]': text }),
}

/** The bytes of a form. */
export function formBody(fields: object, file: { name: string; content: string | Buffer }): Buffer {
  const parts = Object.entries(fields).map(([name, value]) => {
    return `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  })
  const head = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${file.name}"; filename="a.bin"`
  const type = 'Content-Type: application/octet-stream'
  return Buffer.concat([
    Buffer.from(`${parts.join('')}${head}\r\n${type}\r\n\r\n`),
    Buffer.from(file.content),
    Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
  ])
}

/** Body and headers of one call; none for an endpoint without a body. Throws where there is no sample. */
export function sampleCall(
  row: Row,
  wanted: Wanted,
  streamed: boolean,
): Pick<Sent, 'body' | 'headers'> {
  const { api, body: kind } = row.endpoint
  if (kind !== 'form') {
    const body = sampleBody(row, wanted, streamed)
    return body === undefined ? {} : { body }
  }
  const fields = FORM_FIELDS[api]
  if (fields === undefined) throw new Error(`no sample of ${api}`)
  const given = { ...fields(wanted), ...(streamed && { stream: true }) }
  const file = { name: FILES[api] ?? 'file', content: Buffer.from([0, 1, 2, 255]) }
  return { body: formBody(given, file), headers: FORM_TYPE }
}

function sampleBody({ endpoint }: Row, wanted: Wanted, streamed: boolean): object | undefined {
  if (endpoint.body === 'none') return undefined
  const sample = SAMPLES[endpoint.api]
  if (sample === undefined) throw new Error(`no sample of ${endpoint.api}`)
  const body = sample(wanted)
  if (endpoint.api.startsWith('api.')) return { ...body, stream: streamed }
  if (!streamed || /^streamGenerateContent$|_stream$/.test(endpoint.api)) return body
  return endpoint.api === 'audio.speech'
    ? { ...body, stream_format: 'sse' }
    : { ...body, stream: true }
}

/** The path of one call. */
export function samplePath({ path, endpoint }: Row, model: string, streamed: boolean): string {
  const filled = path.replaceAll('{id}', 'id_1').replace('{model}', model)
  return streamed && endpoint.api === 'streamGenerateContent' ? `${filled}?alt=sse` : filled
}
