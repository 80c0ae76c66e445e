/** Turns a request body of the Ollama API into facts. */
import type { Facts, Route, UninspectableKind } from '../exchange.ts'
import { type Inspected, inspectBody, inspectPath } from './inspect-body.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { walkModels } from './model-walk.ts'
import {
  checkFolded,
  checkSpelling,
  fieldInvalid,
  modelInvalid,
  readBoolean,
  readInteger,
  readKind,
} from './openai-fields.ts'
import { Marks } from './openai-marks.ts'
import { MessageRuns } from './openai-prompt.ts'

/** Ollama is written in Go, whose decoder matches keys by any case: only one spelling is taken. */
const FIELDS: ReadonlySet<string> = new Set([
  'context',
  'dimensions',
  'format',
  'images',
  'input',
  'keep_alive',
  'logprobs',
  'messages',
  'model',
  'models',
  'options',
  'prompt',
  'raw',
  'shift',
  'stream',
  'suffix',
  'system',
  'template',
  'think',
  'tools',
  'top_logprobs',
  'truncate',
])
const MESSAGE_FIELDS: ReadonlySet<string> = new Set([
  'content',
  'images',
  'role',
  'thinking',
  'tool_call_id',
  'tool_calls',
  'tool_name',
])
const OPTION_FIELDS: ReadonlySet<string> = new Set(['num_predict', 'temperature', 'top_p'])
const PROMPTS: ReadonlySet<string> = new Set([
  'input',
  'messages',
  'prompt',
  'suffix',
  'system',
  'template',
])
const DEFINITIONS: ReadonlySet<string> = new Set(['tools', 'format'])
const OPAQUE: ReadonlyMap<string, UninspectableKind> = new Map([
  ['images', 'image'],
  ['context', 'token_ids'],
  // A program that makes the prompt, of which its own text need say nothing.
  ['template', 'reference'],
])
const NEEDS: Readonly<Record<string, string>> = {
  'api.chat': 'messages',
  'api.embed': 'input',
  'api.embeddings': 'prompt',
}

/** Facts of one request. Throws BODY_INVALID, FIELD_INVALID, MODEL_INVALID. */
export async function inspect(
  route: Route,
  body: Buffer,
  { jsonDepth }: { readonly jsonDepth: number },
): Promise<Facts> {
  const { api, body: form, generates } = route.endpoint
  if (form === 'none') return inspectPath(route, body)
  return inspectBody(body, jsonDepth, (doc) => look(doc, api, generates))
}

function look(doc: JsonDocument, api: string, generates: boolean): Inspected {
  const marks = new Marks(doc)
  if (doc.given(0, 'model') === -1) throw modelInvalid('/model', 'must be given')
  const need = NEEDS[api]
  if (need !== undefined && doc.given(0, need) === -1) {
    throw fieldInvalid(doc, 0, `must have ${need}`)
  }
  const prompts: number[] = []
  const withKeys = new Set<number>()
  const end = doc.next(0)
  for (let key = 1; key < end; key = doc.next(key + 1)) {
    const name = doc.text(key)
    if (!FIELDS.has(name)) checkFolded(doc, key, FIELDS)
    if (PROMPTS.has(name) || DEFINITIONS.has(name)) prompts.push(key + 1)
    if (DEFINITIONS.has(name)) withKeys.add(key + 1)
    markImages(doc, key, marks)
  }
  if (api === 'api.chat') inspectMessages(doc, marks)
  const isStreamed = doc.given(0, 'stream') === -1 || readBoolean(doc, 0, 'stream')
  return {
    models: walkModels(doc),
    stream: generates && isStreamed,
    maxOutputTokens: readCap(doc),
    tools: toolNames(doc),
    uninspectable: marks.uninspectable,
    payloads: marks.payloads,
    runs: marks.runs,
    prompts,
    withKeys,
  }
}

function markImages(doc: JsonDocument, key: number, marks: Marks): void {
  const kind = OPAQUE.get(doc.word(key))
  const value = key + 1
  if (kind === undefined || doc.kind(value) === KIND.NULL) return
  const isEmpty = doc.kind(value) === KIND.ARRAY && doc.next(value) === value + 1
  if (isEmpty || (doc.kind(value) === KIND.STRING && doc.isString(value, ''))) return
  marks.add(kind, value)
  for (const each of doc.children(value)) {
    if (doc.kind(each) === KIND.STRING) marks.payload(each, true)
  }
}

function inspectMessages(doc: JsonDocument, marks: Marks): void {
  const messages = readKind(doc, 0, 'messages', 'ARRAY')
  const runs = new MessageRuns(marks)
  for (const message of doc.children(messages)) {
    if (doc.kind(message) !== KIND.OBJECT) throw fieldInvalid(doc, message, 'must be an object')
    checkSpelling(doc, message, MESSAGE_FIELDS)
    const role = readKind(doc, message, 'role', 'STRING')
    readKind(doc, message, 'content', 'STRING')
    runs.add(message, role === -1 ? '' : doc.word(role))
    const end = doc.next(message)
    for (let key = message + 1; key < end; key = doc.next(key + 1)) markImages(doc, key, marks)
  }
}

/** Zero and below `num_predict` means no cap, which is what leaving it out means; then a cap can be put. */
function readCap(doc: JsonDocument): number | null {
  const options = readKind(doc, 0, 'options', 'OBJECT')
  if (options === -1) return null
  checkSpelling(doc, options, OPTION_FIELDS)
  return readInteger(doc, options, 'num_predict', 1)
}

function toolNames(doc: JsonDocument): string[] {
  const tools = readKind(doc, 0, 'tools', 'ARRAY')
  if (tools === -1) return []
  const names = new Set<string>()
  for (const tool of doc.children(tools)) {
    const given = doc.given(tool, 'function')
    const name = readKind(doc, given === -1 ? tool : given, 'name', 'STRING')
    if (name === -1) continue
    if (doc.word(name) === '') throw fieldInvalid(doc, name, 'must be 1 to 1024 characters')
    names.add(doc.copy(name))
  }
  return [...names]
}
