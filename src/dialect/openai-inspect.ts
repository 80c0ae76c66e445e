/** Turns a request body of the OpenAI API into facts. */
import type { Facts, Reading, Route, Splice, UninspectableKind } from '../exchange.ts'
import { inTurns } from '../turns.ts'
import { inspectPath } from './inspect-body.ts'
import { KIND } from './json-tape.ts'
import { readJson, readJsonNow } from './json.ts'
import type { JsonDocument } from './json.ts'
import { markContent, OPAQUE_MEMBERS } from './openai-content.ts'
import {
  checkFolded,
  checkSpelling,
  modelInvalid,
  readBoolean,
  readInteger,
  readKind,
} from './openai-fields.ts'
import { Marks } from './openai-marks.ts'
import { readModels } from './openai-models.ts'
import { inspectOther, type Shape, SHAPES } from './openai-other.ts'
import { inspectEmbeddingInput, inspectItems, inspectMessages } from './openai-prompt.ts'
import { inspectTools } from './openai-tools.ts'
import { STREAM_OPTIONS_FIELDS, TOP_FIELDS } from './openai-vocabulary.ts'
import { STRETCH_BYTES } from './steps.ts'
import { type Collected, collectTexts, collectTextsNow, type TextMarks } from './texts.ts'

/** Top-level members whose non-null value stands for content that is elsewhere or not text. */
const OPAQUE_FIELDS: ReadonlyMap<string, UninspectableKind> = new Map([
  ...OPAQUE_MEMBERS,
  ['previous_response_id', 'reference'],
  ['conversation', 'reference'],
  ['web_search_options', 'hosted_tool'],
  // Azure's "on your data": documents that its server looks for and puts before the model.
  ['data_sources', 'hosted_tool'],
  ['datasources', 'hosted_tool'],
  ['prompt_token_ids', 'token_ids'],
  ['input_ids', 'token_ids'],
  ['input_embeds', 'token_ids'],
  ['inputs_embeds', 'token_ids'],
  ['prompt_embeds', 'token_ids'],
  ['image', 'image'],
  ['image_data', 'image'],
  ['audio_data', 'audio'],
  ['video', 'file'],
  ['video_data', 'file'],
  ['files', 'file'],
  ['file_ids', 'file'],
  ['attachments', 'file'],
  ['container', 'reference'],
  // A program that makes the prompt, of which its own text need say nothing.
  ['chat_template', 'reference'],
])
/** Names that servers of this API give to content nobody can read, whatever stands before them. */
const OPAQUE_NAME = /(?:embeds?|embeddings|token_ids|_data|_base64|_b64)$/

/** Members that are read one by one, in calls that have any of them. */
const RARE: ReadonlySet<string> = new Set([
  ...OPAQUE_FIELDS.keys(),
  'audio',
  'background',
  'functions',
  'n',
  'prediction',
  'prompt',
])
/** Members whose strings are prompt, and those in which a model reads the keys, too. */
const PROMPTS = new Set(['messages', 'input', 'instructions', 'prediction', 'prompt'])
const DEFINITIONS = new Set(['tools', 'functions', 'response_format', 'text'])

const OUTPUT_CAPS = ['max_tokens', 'max_completion_tokens', 'max_output_tokens']

/**
 * Facts of one request. A body of up to 64 KiB is read without giving way; a larger one lets the
 * event loop turn every 64 KiB. Throws BODY_INVALID, FIELD_INVALID, MODEL_INVALID.
 */
export async function inspect(route: Route, body: Buffer, maximums: Reading): Promise<Facts> {
  if (route.endpoint.body === 'none') return inspectPath(route, body)
  if (body.length > STRETCH_BYTES) return inTurns(inspectSteps(route, body, maximums.jsonDepth))
  const doc = readJsonNow(body, maximums.jsonDepth)
  const found = inspectTree(doc, route, maximums.jsonDepth)
  return factsOf(doc, found, collectTextsNow(doc, found))
}

/** The same in steps, for a request that is part of a longer body. */
export function* inspectSteps(
  route: Pick<Route, 'endpoint' | 'pathModel'>,
  body: Buffer,
  jsonDepth: number,
): Generator<void, Facts> {
  const doc = yield* readJson(body, jsonDepth)
  const found = inspectTree(doc, route, jsonDepth)
  yield
  return factsOf(doc, found, yield* collectTexts(doc, found))
}

/** All that is found out before the texts are collected. */
interface Found extends TextMarks {
  readonly model: string
  readonly models: readonly string[]
  readonly stream: boolean
  readonly maxOutputTokens: number | null
  readonly tools: readonly string[]
  readonly uninspectable: Facts['uninspectable']
  readonly options: number
  readonly asks: boolean
}

function factsOf(doc: JsonDocument, found: Found, { texts, inputChars }: Collected): Facts {
  const { model, models, stream, maxOutputTokens, tools, uninspectable, asks, options } = found
  return {
    model,
    models,
    stream,
    maxOutputTokens,
    tools,
    texts,
    inputChars,
    uninspectable,
    askUsage: asks ? askUsage(doc, options) : null,
  }
}

/** Models, tools, settings, where the prompt is and what cannot be read. Throws FIELD_INVALID, MODEL_INVALID. */
export function inspectTree(
  doc: JsonDocument,
  route: Pick<Route, 'endpoint' | 'pathModel'>,
  jsonDepth: number,
): Found {
  const { api } = route.endpoint
  // A path that names the model, as Azure's do, needs none in the body.
  const isNamed = route.pathModel !== null
  const shape = SHAPES.get(api)
  if (shape !== undefined) {
    const needed = isNamed ? { ...shape, needsModel: false } : shape
    return inspectOtherTree(doc, api, needed, jsonDepth)
  }
  const marks = new Marks(doc)
  const { prompts, withKeys, hasRare } = inspectMembers(doc, TOP_FIELDS[api] ?? NO_FIELDS, marks)
  const model = doc.member(0, 'model')
  if (model === -1 && api !== 'responses' && !isNamed) throw modelInvalid('/model', 'must be given')
  const models = readModels(doc)
  const stream = readBoolean(doc, 0, 'stream')
  if (hasRare) readInteger(doc, 0, 'n', 1)
  const maxOutputTokens = inspectCaps(doc)
  const tools = inspectTools(doc, marks)
  if (hasRare) inspectRare(doc, marks)
  inspectPrompts(doc, api, marks)
  return {
    model: model === -1 ? '' : (models[0] ?? ''),
    models,
    stream,
    maxOutputTokens,
    tools,
    uninspectable: marks.uninspectable,
    payloads: marks.payloads,
    runs: marks.runs,
    prompts,
    withKeys,
    jsonDepth,
    options: inspectStreamOptions(doc),
    asks: stream && api === 'chat.completions',
  }
}

function inspectOtherTree(doc: JsonDocument, api: string, shape: Shape, jsonDepth: number): Found {
  const marks = new Marks(doc)
  const { prompts, tools, stream } = inspectOther(doc, shape, marks)
  const models = readModels(doc)
  return {
    model: doc.given(0, 'model') === -1 ? '' : (models[0] ?? ''),
    models,
    stream,
    maxOutputTokens: inspectCaps(doc),
    tools,
    uninspectable: marks.uninspectable,
    payloads: marks.payloads,
    runs: marks.runs,
    prompts,
    withKeys: NO_NODES,
    jsonDepth,
    options: inspectStreamOptions(doc),
    asks: stream && api === 'completions',
  }
}

const NO_FIELDS: ReadonlySet<string> = new Set()
const NO_NODES: ReadonlySet<number> = new Set()

/** One walk over the top: spelling, content that cannot be read, and where the prompt is. */
function inspectMembers(doc: JsonDocument, known: ReadonlySet<string>, marks: Marks) {
  const prompts: number[] = []
  let withKeys = NO_NODES
  let hasRare = false
  const end = doc.next(0)
  for (let key = 1; key < end; key = doc.next(key + 1)) {
    const name = doc.text(key)
    if (PROMPTS.has(name)) prompts.push(key + 1)
    else if (DEFINITIONS.has(name)) {
      prompts.push(key + 1)
      withKeys = new Set([...withKeys, key + 1])
    }
    if (RARE.has(name)) hasRare = true
    if (known.has(name)) markOpaque(doc, key, OPAQUE_FIELDS.get(name), marks)
    else {
      // Some server may make a prompt of it, as of `documents`.
      if (!PROMPTS.has(name) && !DEFINITIONS.has(name)) prompts.push(key + 1)
      markOpaque(doc, key, opaqueKind(checkFolded(doc, key, known)), marks)
    }
  }
  return { prompts, withKeys, hasRare }
}

function opaqueKind(folded: string): UninspectableKind | undefined {
  return OPAQUE_FIELDS.get(folded) ?? (OPAQUE_NAME.test(folded) ? 'file' : undefined)
}

function markOpaque(
  doc: JsonDocument,
  key: number,
  kind: UninspectableKind | undefined,
  marks: Marks,
): void {
  const value = key + 1
  // The voice of an answer; only a reference in it is content.
  if (kind === undefined || doc.kind(value) === KIND.NULL || doc.isKey(key, 'audio')) return
  marks.add(kind, value)
  if (doc.kind(value) === KIND.STRING) marks.payload(value, true)
}

/** The largest output cap, null when none was given. */
function inspectCaps(doc: JsonDocument): number | null {
  let largest: number | null = null
  for (const name of OUTPUT_CAPS) {
    const cap = readInteger(doc, 0, name, 0)
    if (cap !== null && cap > (largest ?? -1)) largest = cap
  }
  return largest
}

/** Marks what members of several shapes bring in from elsewhere. */
function inspectRare(doc: JsonDocument, marks: Marks): void {
  // The answer of a background call is fetched later, from where nothing is inspected.
  if (readBoolean(doc, 0, 'background')) marks.add('reference', doc.member(0, 'background'))
  const prompt = doc.given(0, 'prompt')
  if (prompt !== -1) {
    if (doc.kind(prompt) === KIND.OBJECT) marks.add('reference', prompt)
    else if (doc.kind(prompt) === KIND.ARRAY) marks.add('token_ids', prompt)
  }
  const audio = doc.given(0, 'audio')
  const voice = audio === -1 ? -1 : doc.given(audio, 'voice')
  if (voice !== -1 && doc.kind(voice) === KIND.OBJECT) marks.add('reference', voice)
  const prediction = doc.given(0, 'prediction')
  if (prediction !== -1) markContent(doc, prediction, marks)
}

/** Checks the prompt's shape. */
function inspectPrompts(doc: JsonDocument, api: string, marks: Marks): void {
  if (api === 'chat.completions' || api === 'cohere.chat') inspectMessages(doc, marks)
  else if (api === 'embeddings') inspectEmbeddingInput(doc, marks)
  else {
    readKind(doc, 0, 'instructions', 'STRING')
    inspectItems(doc, marks)
  }
}

/** Checks `stream_options`; its node, null included, or -1 when absent. */
function inspectStreamOptions(doc: JsonDocument): number {
  const options = readKind(doc, 0, 'stream_options', 'OBJECT')
  if (options === -1) return doc.member(0, 'stream_options')
  checkSpelling(doc, options, STREAM_OPTIONS_FIELDS)
  readBoolean(doc, options, 'include_usage')
  return options
}

/** The smallest edit after which a streamed chat answer reports usage; null when it will anyway. */
function askUsage(doc: JsonDocument, options: number): Splice | null {
  const member = '"include_usage":true'
  if (options === -1) return insert(doc, 0, `"stream_options":{${member}}`)
  if (doc.kind(options) === KIND.NULL) return replace(doc, options, `{${member}}`)
  const usage = doc.member(options, 'include_usage')
  if (usage === -1) return insert(doc, options, member)
  return doc.kind(usage) === KIND.TRUE ? null : replace(doc, usage, 'true')
}

function insert(doc: JsonDocument, object: number, member: string): Splice {
  const start = doc.start(object) + 1
  const isEmpty = doc.next(object) === object + 1
  return { start, end: start, text: isEmpty ? member : `${member},` }
}

function replace(doc: JsonDocument, node: number, text: string): Splice {
  return { start: doc.start(node), end: doc.end(node), text }
}
