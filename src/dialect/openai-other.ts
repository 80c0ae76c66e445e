/**
 * Requests of the OpenAI API that are not chat, responses or embeddings: one way to look at all of
 * them. Every string counts, every model anywhere counts, and what stands for content that is
 * elsewhere is found by its name wherever it is.
 */
import type { UninspectableKind } from '../exchange.ts'
import { foldKey } from './json-fold.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { markBelow } from './openai-content.ts'
import {
  checkFolded,
  fieldInvalid,
  modelInvalid,
  readBoolean,
  readInteger,
  readKind,
} from './openai-fields.ts'
import type { Marks } from './openai-marks.ts'
import { inspectItems, inspectTextOrTokens } from './openai-prompt.ts'
import { inspectArray } from './openai-tools.ts'

/** What is particular about one endpoint. */
export interface Shape {
  /** `required`: refused without a `model`. */
  readonly needsModel?: boolean
  /** Fields without which there is nothing to inspect. */
  readonly needs?: readonly string[]
  /** Fields that are a text, texts, or token ids. */
  readonly tokens?: readonly string[]
  /** Field that holds Responses items. */
  readonly items?: 'input' | 'items'
  /** What the call brings in by its path: the history of a thread, a stored definition. */
  readonly brings?: UninspectableKind
  /** Fields by which a server of another API makes another operation of it. */
  readonly foreign?: readonly string[]
  /** `background` says what a picture is painted on, and not when the call is answered. */
  readonly paints?: boolean
}

const STORED: Shape = { brings: 'reference' }
const PLAIN: Shape = {}
/** Where Mistral's API begins or continues a conversation, a model answers at once. */
const CONVERSATION: Shape = {
  foreign: ['agent_id', 'inputs', 'model', 'stream', 'tool_confirmations'],
}

/** By `api`. An endpoint with a body that is not here has an inspector of its own: chat, responses, embeddings. */
export const SHAPES: ReadonlyMap<string, Shape> = new Map<string, Shape>([
  ['completions', { needsModel: true, needs: ['prompt'], tokens: ['prompt', 'suffix'] }],
  ['responses.compact', { needsModel: true, items: 'input' }],
  ['responses.input_tokens', { items: 'input' }],
  ['moderations', { needs: ['input'] }],
  ['images.generations', { needs: ['prompt'], paints: true }],
  ['images.edits', { needs: ['prompt'], paints: true }],
  ['audio.speech', { needsModel: true, needs: ['input'] }],
  ['decisions', { needsModel: true, needs: ['input', 'questions'], items: 'input' }],
  ['voice_consents.update', PLAIN],
  ['videos.create', { needs: ['prompt'] }],
  ['videos.edits', { needs: ['prompt'] }],
  ['videos.extensions', { needs: ['prompt'] }],
  ['videos.remix', { needs: ['prompt'], brings: 'reference' }],
  ['skills.create', PLAIN],
  ['skills.update', PLAIN],
  ['skills.versions.create', PLAIN],
  ['rerank', { needsModel: true, needs: ['query', 'documents'] }],
  ['score', { needsModel: true }],
  ['cohere.embed', { needsModel: true }],
  ['tokenize', { needsModel: true }],
  ['detokenize', { needsModel: true, needs: ['tokens'], tokens: ['tokens'] }],
  ['chat.completions.update', PLAIN],
  ['conversations.create', { ...CONVERSATION, items: 'items' }],
  ['conversations.update', CONVERSATION],
  ['conversations.items.create', { needs: ['items'], items: 'items' }],
  ['containers.create', PLAIN],
  ['containers.files.create', PLAIN],
  ['vector_stores.create', PLAIN],
  ['vector_stores.update', PLAIN],
  ['vector_stores.search', { needs: ['query'] }],
  ['vector_stores.files.create', PLAIN],
  ['vector_stores.files.update', PLAIN],
  ['vector_stores.batches.create', PLAIN],
  ['assistants.create', { needsModel: true }],
  ['assistants.update', PLAIN],
  ['threads.create', PLAIN],
  ['threads.update', PLAIN],
  ['threads.messages.create', PLAIN],
  ['threads.messages.update', PLAIN],
  ['threads.runs.create_both', STORED],
  ['threads.runs.create', STORED],
  ['threads.runs.update', PLAIN],
  ['threads.runs.submit', STORED],
  // Its requests were looked at when their file came through here; whether it did nobody can tell.
  ['batches.create', { brings: 'reference', needs: ['endpoint'] }],
  ['files.line', PLAIN],
  ['fine_tuning.create', { needsModel: true }],
  ['graders.run', PLAIN],
  ['graders.validate', PLAIN],
  ['evals.create', PLAIN],
  ['evals.update', PLAIN],
  ['evals.runs.create', STORED],
])

/** Fields by which something is decided: a spelling that only some servers take for one is refused. */
export const DECISIVE: ReadonlySet<string> = new Set([
  'additional_instructions',
  'additional_messages',
  'assistant_id',
  'background',
  'conversation',
  'data_source',
  'documents',
  'input',
  'input_file_id',
  'instructions',
  'items',
  'max_completion_tokens',
  'max_output_tokens',
  'max_tokens',
  'messages',
  'metadata',
  'method',
  'model',
  'models',
  'n',
  'previous_response_id',
  'prompt',
  'query',
  'questions',
  'session',
  'stream',
  'stream_options',
  'suffix',
  'thread',
  'tokens',
  'tool_outputs',
  'tools',
  'training_file',
])
/** Fields that are about the call or hold definitions, and are not prompt. */
const NOT_PROMPT: ReadonlySet<string> = new Set([
  'encoding_format',
  'endpoint',
  'metadata',
  'model',
  'name',
  'response_format',
  'size',
  'stream_options',
  'tool_choice',
  'tools',
  'user',
  'voice',
])

/** Members that stand for content elsewhere, beside those of chat. */
const BROUGHT: ReadonlyMap<string, UninspectableKind> = new Map([
  ['assistant_id', 'reference'],
  ['attachments', 'file'],
  ['conversation', 'reference'],
  ['file_ids', 'file'],
  ['files', 'file'],
  ['image', 'image'],
  ['input_file_id', 'reference'],
  ['input_reference', 'image'],
  ['mask', 'image'],
  ['previous_response_id', 'reference'],
  ['skills', 'file'],
  ['tool_resources', 'reference'],
  ['training_file', 'file'],
  ['validation_file', 'file'],
  ['vector_store_ids', 'reference'],
  ['video', 'file'],
  ['web_search_options', 'hosted_tool'],
])

/** Names that servers of this API give to content nobody can read, whatever stands before them. */
const OPAQUE_NAME = /(?:embeds?|embeddings|token_ids|input_ids|_data|_base64|_b64)$/

/** What a walk over such a body finds. */
export interface OtherFound {
  readonly prompts: readonly number[]
  readonly tools: readonly string[]
  readonly stream: boolean
}

/**
 * Checks the body of an endpoint of `SHAPES` and marks what cannot be read in it. Throws
 * FIELD_INVALID and MODEL_INVALID.
 */
export function inspectOther(doc: JsonDocument, shape: Shape, marks: Marks): OtherFound {
  checkShape(doc, shape)
  const { brings, items = '', tokens = [] } = shape
  if (brings !== undefined) marks.add(brings, 0)
  if (items !== '') inspectItems(doc, marks, items)
  for (const name of tokens) {
    if (doc.given(0, name) !== -1) inspectTextOrTokens(doc, name, marks)
  }
  const names = new Set<string>()
  const prompts: number[] = []
  const end = doc.next(0)
  for (let key = 1; key < end; key = doc.next(key + 1)) {
    const name = doc.text(key)
    if (!DECISIVE.has(name)) checkFolded(doc, key, DECISIVE)
    if (!NOT_PROMPT.has(name)) prompts.push(key + 1)
    if (name !== 'metadata') inspectMember(doc, key, { marks, names, isOwn: name === items })
  }
  readInteger(doc, 0, 'n', 1)
  markStored(doc, shape, marks)
  return { prompts, tools: [...names], stream: isStreamed(doc) }
}

function checkShape(doc: JsonDocument, shape: Shape): void {
  const { needsModel = false, needs = [], foreign = [] } = shape
  if (needsModel && doc.member(0, 'model') === -1) throw modelInvalid('/model', 'must be given')
  for (const name of needs) {
    if (doc.given(0, name) === -1) throw fieldInvalid(doc, 0, `must have ${name}`)
  }
  for (const name of foreign) {
    const node = doc.member(0, name)
    if (node !== -1) throw fieldInvalid(doc, node, "is of another provider's API, not known here")
  }
}

/** A stored prompt, characters of videos, and an answer that is fetched later: nothing is inspected there. */
function markStored(doc: JsonDocument, { paints = false }: Shape, marks: Marks): void {
  const prompt = doc.given(0, 'prompt')
  if (prompt !== -1 && doc.kind(prompt) === KIND.OBJECT) marks.add('reference', prompt)
  const characters = doc.given(0, 'characters')
  if (characters !== -1) marks.add('reference', characters)
  if (paints) readKind(doc, 0, 'background', 'STRING')
  else if (readBoolean(doc, 0, 'background')) marks.add('reference', doc.member(0, 'background'))
}

interface Walk {
  readonly marks: Marks
  readonly names: Set<string>
  /** Items that were marked already. */
  readonly isOwn: boolean
}

function inspectMember(doc: JsonDocument, key: number, { marks, names, isOwn }: Walk): void {
  const value = key + 1
  const isDefinition = doc.isKey(key, 'tools') || doc.isKey(key, 'response_format')
  if (OPAQUE_NAME.test(foldKey(doc.word(key)))) marks.add('token_ids', value)
  else if (!isOwn && !isDefinition) markBelow(doc, key, marks, BROUGHT)
  const end = doc.next(value)
  // Tools may be given to a thread, to the runs of an evaluation, to one item.
  for (let at = key; at < end; at++) {
    if (doc.kind(at) !== KIND.KEY || !doc.isKey(at, 'tools')) continue
    if (doc.kind(at + 1) !== KIND.ARRAY) continue
    inspectArray(doc, at + 1, marks, names)
    at = doc.next(at + 1) - 1
  }
}

/** Speech says with a word of its own that it is to be streamed. */
function isStreamed(doc: JsonDocument): boolean {
  const format = doc.given(0, 'stream_format')
  return readBoolean(doc, 0, 'stream') || (format !== -1 && doc.isString(format, 'sse'))
}
