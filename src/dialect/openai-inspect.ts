/** Turns a request body of the OpenAI API into facts. */
import { GovernorError } from '../errors.ts'
import type { Facts, Route, Splice, UninspectableKind } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import { readJson } from './json.ts'
import type { JsonDocument } from './json.ts'
import { markContent } from './openai-content.ts'
import {
  checkModel,
  checkSpelling,
  modelInvalid,
  readBoolean,
  readInteger,
  readKind,
} from './openai-fields.ts'
import { Marks } from './openai-marks.ts'
import { readModels } from './openai-models.ts'
import { inspectEmbeddingInput, inspectItems, inspectMessages } from './openai-prompt.ts'
import { inspectTools } from './openai-tools.ts'
import { STREAM_OPTIONS_FIELDS, TOP_FIELDS } from './openai-vocabulary.ts'
import { runSteps, runStepsYielding, STRETCH_BYTES } from './steps.ts'
import { collectTexts } from './texts.ts'

/** Top-level members whose non-null value stands for content that is elsewhere. */
const OPAQUE_FIELDS: readonly (readonly [string, UninspectableKind])[] = [
  ['previous_response_id', 'reference'],
  ['conversation', 'reference'],
  ['web_search_options', 'hosted_tool'],
  ['prompt_token_ids', 'token_ids'],
  ['input_ids', 'token_ids'],
]

const OUTPUT_CAPS = ['max_tokens', 'max_completion_tokens', 'max_output_tokens']

/**
 * Facts of one request. A body of up to 64 KiB is read without giving way; a larger one lets the
 * event loop turn every 64 KiB. Throws BODY_INVALID, FIELD_INVALID, MODEL_INVALID.
 */
export async function inspect(
  route: Route,
  body: Buffer,
  maximums: { readonly jsonDepth: number },
): Promise<Facts> {
  if (route.endpoint.body === 'none') return inspectPath(route, body)
  const steps = inspectSteps(route.endpoint.api, body, maximums.jsonDepth)
  return body.length <= STRETCH_BYTES ? runSteps(steps) : runStepsYielding(steps)
}

function inspectPath(route: Route, body: Buffer): Facts {
  if (body.length > 0) {
    throw new GovernorError('BODY_INVALID', { detail: 'this path takes no body' })
  }
  const model = route.pathModel === null ? '' : checkModel(route.pathModel, 'the model in the path')
  return {
    model,
    models: model === '' ? [] : [model],
    stream: false,
    maxOutputTokens: null,
    tools: [],
    texts: NO_TEXTS,
    inputChars: 0,
    uninspectable: [],
    askUsage: null,
  }
}

const NO_TEXTS = { values: [], pointer: (index: number) => `no text ${index}` }

function* inspectSteps(api: string, body: Buffer, jsonDepth: number): Generator<void, Facts> {
  const doc = yield* readJson(body, jsonDepth)
  checkSpelling(doc, 0, TOP_FIELDS[api] ?? new Set())
  const model = doc.member(0, 'model')
  if (model === -1 && api !== 'responses') throw modelInvalid('/model', 'must be given')
  const models = readModels(doc)
  const stream = readBoolean(doc, 0, 'stream')
  const maxOutputTokens = inspectFigures(doc)
  const marks = new Marks(doc)
  const tools = inspectTools(doc, marks)
  yield
  inspectTop(doc, marks)
  const prompts = inspectPrompts(doc, api, marks)
  const options = inspectStreamOptions(doc)
  yield
  const { payloads, uninspectable } = marks
  const { texts, inputChars } = yield* collectTexts(doc, { payloads, prompts })
  const asks = stream && api === 'chat.completions'
  return {
    model: model === -1 ? '' : (models[0] ?? ''),
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

/** Checks the figures; returns the largest output cap, null when none was given. */
function inspectFigures(doc: JsonDocument): number | null {
  readInteger(doc, 0, 'n', 1)
  const caps = OUTPUT_CAPS.map((name) => readInteger(doc, 0, name, 0))
  const given = caps.filter((cap) => cap !== null)
  return given.length === 0 ? null : Math.max(...given)
}

/** Marks what the top-level members bring in from elsewhere. */
function inspectTop(doc: JsonDocument, marks: Marks): void {
  for (const [name, kind] of OPAQUE_FIELDS) {
    const node = doc.given(0, name)
    if (node !== -1) marks.add(kind, node)
  }
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

/** Checks the prompt's shape; returns the values that hold it, in document order. */
function inspectPrompts(doc: JsonDocument, api: string, marks: Marks): number[] {
  if (api === 'chat.completions') return [inspectMessages(doc, marks)]
  if (api === 'embeddings') return [inspectEmbeddingInput(doc, marks)]
  const instructions = readKind(doc, 0, 'instructions', 'STRING')
  const input = inspectItems(doc, marks)
  return [instructions, input].filter((node) => node !== -1).sort((a, b) => a - b)
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
