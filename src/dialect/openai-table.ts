/**
 * Every endpoint of the OpenAI API that is known here (published specification of 2026-08, official client of
 * 2026-11). What is known and refused all the same is in `closed.ts`, with the reasons.
 */
import type { Endpoint, Operation } from '../exchange.ts'
import type { Row } from './table.ts'

const NO_QUERY: readonly string[] = []
/** Cursors of every list. */
const LIST = ['after', 'before', 'limit', 'order']
const INCLUDE = ['include', 'include[]', 'include%5B%5D']

interface More {
  readonly query?: readonly string[]
  readonly generates?: boolean
}

function endpoint(
  operation: Operation,
  api: string,
  body: Endpoint['body'],
  { query = NO_QUERY, generates = false }: More = {},
): Endpoint {
  return { operation, api, body, query, generates }
}

/** Sends JSON. */
function send(path: string, operation: Operation, api: string, more: More = {}): Row {
  return { method: 'POST', path, endpoint: endpoint(operation, api, 'json', more) }
}

/** Sends fields and files. */
function form(
  path: string,
  operation: Operation,
  api: string,
  body: 'form' | 'json or form' = 'form',
): Row {
  return { method: 'POST', path, endpoint: endpoint(operation, api, body) }
}

/** Changes what is stored, without a body. */
function act(path: string, api: string): Row {
  return { method: 'POST', path, endpoint: endpoint('stored.write', api, 'none') }
}

function read(path: string, api: string, query = NO_QUERY, operation: Operation = 'stored.read') {
  const row: Row = { method: 'GET', path, endpoint: endpoint(operation, api, 'none', { query }) }
  return row
}

function remove(path: string, api: string, operation: Operation = 'stored.delete'): Row {
  return { method: 'DELETE', path, endpoint: endpoint(operation, api, 'none') }
}

const CHAT = endpoint('chat', 'chat.completions', 'json', { generates: true })

const INFERENCE: readonly Row[] = [
  { method: 'POST', path: '/v1/chat/completions', endpoint: CHAT },
  // What clients send whose base URL lacks the version.
  { method: 'POST', path: '/chat/completions', endpoint: CHAT, sentAs: '/v1/chat/completions' },
  send('/v1/responses', 'chat', 'responses', { generates: true, query: ['beta'] }),
  send('/v1/responses/compact', 'chat', 'responses.compact', { generates: true, query: ['beta'] }),
  send('/v1/responses/input_tokens', 'tokens', 'responses.input_tokens', { query: ['beta'] }),
  send('/v1/completions', 'completions', 'completions', { generates: true }),
  send('/v1/embeddings', 'embeddings', 'embeddings'),
  send('/v1/moderations', 'moderations', 'moderations'),
  send('/v1/images/generations', 'images', 'images.generations'),
  form('/v1/images/edits', 'images', 'images.edits', 'json or form'),
  form('/v1/images/variations', 'images', 'images.variations'),
  send('/v1/audio/speech', 'speech', 'audio.speech'),
  form('/v1/audio/transcriptions', 'transcription', 'audio.transcriptions'),
  form('/v1/audio/translations', 'transcription', 'audio.translations'),
  // Answers questions about a conversation by choices and scores; writes no text.
  send('/v1/decisions', 'chat', 'decisions'),
  form('/v1/content_provenance_checks', 'moderations', 'content_provenance_checks'),
  // Servers of this API that rank and count, too (vLLM, Jina, Cohere).
  send('/v1/rerank', 'rerank', 'rerank'),
  send('/v2/rerank', 'rerank', 'rerank'),
  send('/rerank', 'rerank', 'rerank'),
  send('/v1/score', 'rerank', 'score'),
  send('/score', 'rerank', 'score'),
  // Cohere's own API, beside `/v2/rerank`.
  send('/v2/chat', 'chat', 'cohere.chat', { generates: true }),
  send('/v2/embed', 'embeddings', 'cohere.embed'),
  send('/tokenize', 'tokens', 'tokenize'),
  send('/detokenize', 'tokens', 'detokenize'),
]

const MODELS: readonly Row[] = [
  read('/v1/models', 'models', NO_QUERY, 'models'),
  read('/v1/models/{model}', 'models', NO_QUERY, 'models'),
  remove('/v1/models/{model}', 'models.delete', 'admin'),
]

const STORED: readonly Row[] = [
  read('/v1/chat/completions', 'chat.completions.list', [...LIST, 'model']),
  read('/v1/chat/completions/{id}', 'chat.completions.get'),
  send('/v1/chat/completions/{id}', 'stored.write', 'chat.completions.update'),
  remove('/v1/chat/completions/{id}', 'chat.completions.delete'),
  read('/v1/chat/completions/{id}/messages', 'chat.completions.messages', LIST),
  read('/v1/responses/{id}', 'responses.get', [
    ...INCLUDE,
    'stream',
    'starting_after',
    'include_obfuscation',
    'beta',
  ]),
  remove('/v1/responses/{id}', 'responses.delete'),
  act('/v1/responses/{id}/cancel', 'responses.cancel'),
  read('/v1/responses/{id}/input_items', 'responses.input_items', [...LIST, ...INCLUDE, 'beta']),
  send('/v1/conversations', 'stored.write', 'conversations.create'),
  read('/v1/conversations/{id}', 'conversations.get'),
  send('/v1/conversations/{id}', 'stored.write', 'conversations.update'),
  remove('/v1/conversations/{id}', 'conversations.delete'),
  read('/v1/conversations/{id}/items', 'conversations.items.list', [...LIST, ...INCLUDE]),
  send('/v1/conversations/{id}/items', 'stored.write', 'conversations.items.create', {
    query: INCLUDE,
  }),
  read('/v1/conversations/{id}/items/{id}', 'conversations.items.get', INCLUDE),
  remove('/v1/conversations/{id}/items/{id}', 'conversations.items.delete'),
  read('/v1/containers', 'containers.list', [...LIST, 'name']),
  send('/v1/containers', 'stored.write', 'containers.create'),
  read('/v1/containers/{id}', 'containers.get'),
  remove('/v1/containers/{id}', 'containers.delete'),
  read('/v1/containers/{id}/files', 'containers.files.list', LIST),
  form('/v1/containers/{id}/files', 'stored.write', 'containers.files.create', 'json or form'),
  read('/v1/containers/{id}/files/{id}', 'containers.files.get'),
  remove('/v1/containers/{id}/files/{id}', 'containers.files.delete'),
  read('/v1/containers/{id}/files/{id}/content', 'containers.files.content'),
  read('/v1/files', 'files.list', [...LIST, 'purpose'], 'files.read'),
  form('/v1/files', 'files.write', 'files.create'),
  read('/v1/files/{id}', 'files.get', NO_QUERY, 'files.read'),
  read('/v1/files/{id}/content', 'files.content', NO_QUERY, 'files.read'),
  remove('/v1/files/{id}', 'files.delete', 'files.delete'),
]

const VOICES: readonly Row[] = [
  form('/v1/audio/voices', 'stored.write', 'voices.create'),
  remove('/v1/audio/voices/{id}', 'voices.delete'),
  read('/v1/audio/voice_consents', 'voice_consents.list', LIST),
  form('/v1/audio/voice_consents', 'stored.write', 'voice_consents.create'),
  read('/v1/audio/voice_consents/{id}', 'voice_consents.get'),
  send('/v1/audio/voice_consents/{id}', 'stored.write', 'voice_consents.update'),
  remove('/v1/audio/voice_consents/{id}', 'voice_consents.delete'),
]

/** Before `{id}` comes `characters`, which could be one. */
const VIDEOS: readonly Row[] = [
  form('/v1/videos/characters', 'stored.write', 'videos.characters.create'),
  read('/v1/videos/characters/{id}', 'videos.characters.get'),
  read('/v1/videos', 'videos.list', LIST),
  form('/v1/videos', 'images', 'videos.create', 'json or form'),
  form('/v1/videos/edits', 'images', 'videos.edits', 'json or form'),
  form('/v1/videos/extensions', 'images', 'videos.extensions', 'json or form'),
  read('/v1/videos/{id}', 'videos.get'),
  remove('/v1/videos/{id}', 'videos.delete'),
  read('/v1/videos/{id}/content', 'videos.content', ['variant']),
  form('/v1/videos/{id}/remix', 'images', 'videos.remix', 'json or form'),
]

const SKILLS: readonly Row[] = [
  read('/v1/skills', 'skills.list', LIST),
  form('/v1/skills', 'stored.write', 'skills.create', 'json or form'),
  read('/v1/skills/{id}', 'skills.get'),
  send('/v1/skills/{id}', 'stored.write', 'skills.update'),
  remove('/v1/skills/{id}', 'skills.delete'),
  read('/v1/skills/{id}/content', 'skills.content'),
  read('/v1/skills/{id}/versions', 'skills.versions.list', LIST),
  form('/v1/skills/{id}/versions', 'stored.write', 'skills.versions.create', 'json or form'),
  read('/v1/skills/{id}/versions/{id}', 'skills.versions.get'),
  remove('/v1/skills/{id}/versions/{id}', 'skills.versions.delete'),
  read('/v1/skills/{id}/versions/{id}/content', 'skills.versions.content'),
]

const VECTOR_STORES: readonly Row[] = [
  read('/v1/vector_stores', 'vector_stores.list', LIST),
  send('/v1/vector_stores', 'stored.write', 'vector_stores.create'),
  read('/v1/vector_stores/{id}', 'vector_stores.get'),
  send('/v1/vector_stores/{id}', 'stored.write', 'vector_stores.update'),
  remove('/v1/vector_stores/{id}', 'vector_stores.delete'),
  send('/v1/vector_stores/{id}/search', 'stored.read', 'vector_stores.search'),
  read('/v1/vector_stores/{id}/files', 'vector_stores.files.list', [...LIST, 'filter']),
  send('/v1/vector_stores/{id}/files', 'stored.write', 'vector_stores.files.create'),
  read('/v1/vector_stores/{id}/files/{id}', 'vector_stores.files.get'),
  send('/v1/vector_stores/{id}/files/{id}', 'stored.write', 'vector_stores.files.update'),
  remove('/v1/vector_stores/{id}/files/{id}', 'vector_stores.files.delete'),
  read('/v1/vector_stores/{id}/files/{id}/content', 'vector_stores.files.content'),
  send('/v1/vector_stores/{id}/file_batches', 'stored.write', 'vector_stores.batches.create'),
  read('/v1/vector_stores/{id}/file_batches/{id}', 'vector_stores.batches.get'),
  act('/v1/vector_stores/{id}/file_batches/{id}/cancel', 'vector_stores.batches.cancel'),
  read('/v1/vector_stores/{id}/file_batches/{id}/files', 'vector_stores.batches.files', [
    ...LIST,
    'filter',
  ]),
]

const ASSISTANTS: readonly Row[] = [
  read('/v1/assistants', 'assistants.list', LIST),
  send('/v1/assistants', 'assistants', 'assistants.create'),
  read('/v1/assistants/{id}', 'assistants.get'),
  send('/v1/assistants/{id}', 'assistants', 'assistants.update'),
  remove('/v1/assistants/{id}', 'assistants.delete'),
  send('/v1/threads', 'stored.write', 'threads.create'),
  send('/v1/threads/runs', 'assistants', 'threads.runs.create_both', { generates: true }),
  read('/v1/threads/{id}', 'threads.get'),
  send('/v1/threads/{id}', 'stored.write', 'threads.update'),
  remove('/v1/threads/{id}', 'threads.delete'),
  read('/v1/threads/{id}/messages', 'threads.messages.list', [...LIST, 'run_id']),
  send('/v1/threads/{id}/messages', 'stored.write', 'threads.messages.create'),
  read('/v1/threads/{id}/messages/{id}', 'threads.messages.get'),
  send('/v1/threads/{id}/messages/{id}', 'stored.write', 'threads.messages.update'),
  remove('/v1/threads/{id}/messages/{id}', 'threads.messages.delete'),
  read('/v1/threads/{id}/runs', 'threads.runs.list', LIST),
  send('/v1/threads/{id}/runs', 'assistants', 'threads.runs.create', {
    generates: true,
    query: INCLUDE,
  }),
  read('/v1/threads/{id}/runs/{id}', 'threads.runs.get'),
  send('/v1/threads/{id}/runs/{id}', 'stored.write', 'threads.runs.update'),
  act('/v1/threads/{id}/runs/{id}/cancel', 'threads.runs.cancel'),
  send('/v1/threads/{id}/runs/{id}/submit_tool_outputs', 'assistants', 'threads.runs.submit', {
    generates: true,
  }),
  read('/v1/threads/{id}/runs/{id}/steps', 'threads.runs.steps.list', [...LIST, ...INCLUDE]),
  read('/v1/threads/{id}/runs/{id}/steps/{id}', 'threads.runs.steps.get', INCLUDE),
]

const JOBS: readonly Row[] = [
  read('/v1/batches', 'batches.list', LIST),
  send('/v1/batches', 'batches', 'batches.create'),
  read('/v1/batches/{id}', 'batches.get'),
  act('/v1/batches/{id}/cancel', 'batches.cancel'),
  read('/v1/fine_tuning/jobs', 'fine_tuning.list', LIST),
  send('/v1/fine_tuning/jobs', 'fine_tuning', 'fine_tuning.create'),
  read('/v1/fine_tuning/jobs/{id}', 'fine_tuning.get'),
  act('/v1/fine_tuning/jobs/{id}/cancel', 'fine_tuning.cancel'),
  act('/v1/fine_tuning/jobs/{id}/pause', 'fine_tuning.pause'),
  act('/v1/fine_tuning/jobs/{id}/resume', 'fine_tuning.resume'),
  read('/v1/fine_tuning/jobs/{id}/checkpoints', 'fine_tuning.checkpoints', LIST),
  read('/v1/fine_tuning/jobs/{id}/events', 'fine_tuning.events', LIST),
  send('/v1/fine_tuning/alpha/graders/run', 'fine_tuning', 'graders.run'),
  send('/v1/fine_tuning/alpha/graders/validate', 'fine_tuning', 'graders.validate'),
  read('/v1/evals', 'evals.list', [...LIST, 'order_by']),
  send('/v1/evals', 'evals', 'evals.create'),
  read('/v1/evals/{id}', 'evals.get'),
  send('/v1/evals/{id}', 'stored.write', 'evals.update'),
  remove('/v1/evals/{id}', 'evals.delete'),
  read('/v1/evals/{id}/runs', 'evals.runs.list', [...LIST, 'status']),
  send('/v1/evals/{id}/runs', 'evals', 'evals.runs.create'),
  read('/v1/evals/{id}/runs/{id}', 'evals.runs.get'),
  act('/v1/evals/{id}/runs/{id}', 'evals.runs.cancel'),
  act('/v1/evals/{id}/runs/{id}/cancel', 'evals.runs.cancel'),
  remove('/v1/evals/{id}/runs/{id}', 'evals.runs.delete'),
  read('/v1/evals/{id}/runs/{id}/output_items', 'evals.runs.output_items', [...LIST, 'status']),
  read('/v1/evals/{id}/runs/{id}/output_items/{id}', 'evals.runs.output_items.get'),
]

/** The table. Order matters only between rows with `{…}` that one path may fit: those of videos. */
export const OPENAI_ROWS: readonly Row[] = [
  ...INFERENCE,
  ...MODELS,
  ...STORED,
  ...VOICES,
  ...VIDEOS,
  ...SKILLS,
  ...VECTOR_STORES,
  ...ASSISTANTS,
  ...JOBS,
]
