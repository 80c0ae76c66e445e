/** Turns a request body of Amazon Bedrock into facts. The path names the model. */
import { GovernorError } from '../errors.ts'
import type { Facts, Reading, Route, UninspectableKind } from '../exchange.ts'
import { lookAtMessage } from './anthropic-inspect.ts'
import { CAPS, CONFIGS, HANDED_ON } from './bedrock-parameters.ts'
import { BEDROCK_STREAMS } from './bedrock-table.ts'
import { type Inspected, inspectBody, withPathModel } from './inspect-body.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { checkFolded, fieldInvalid, readInteger, readKind } from './openai-fields.ts'
import { Marks } from './openai-marks.ts'

/** Content that cannot be read here, by the member it is in, wherever that is. */
const OPAQUE: ReadonlyMap<string, UninspectableKind> = new Map([
  ['image', 'image'],
  ['images', 'image'],
  ['image_url', 'image'],
  ['inputImage', 'image'],
  ['maskImage', 'image'],
  ['conditionImage', 'image'],
  ['referenceImages', 'image'],
  ['audio', 'audio'],
  ['input_audio', 'audio'],
  ['video', 'file'],
  ['bytes', 'file'],
  ['body', 'file'],
  ['data', 'file'],
  ['file', 'file'],
  ['s3Location', 'reference'],
  ['s3Uri', 'reference'],
  ['redactedContent', 'encrypted'],
  ['promptVariables', 'reference'],
  ['systemTool', 'hosted_tool'],
  ['mcp_servers', 'hosted_tool'],
])
/** JSON of the caller's own, in which names mean nothing to a model's server. */
const FREE: ReadonlySet<string> = new Set(['input', 'inputSchema', 'json', 'parameters', 'schema'])
/** By which something is decided: not to be spelled otherwise. */
const DECISIVE: ReadonlySet<string> = new Set([
  'anthropic_version',
  'input',
  'messages',
  'model',
  'prompt',
  'system',
])
/** Members that are no prompt. */
const NOT_PROMPT: ReadonlySet<string> = new Set(['requestMetadata', 'guardrailConfig'])

/**
 * Facts of one request. Throws BODY_INVALID, FIELD_INVALID and MODEL_INVALID; also for an ARN, which
 * names a prompt, a model or a profile that is kept elsewhere under any name.
 */
export async function inspect(route: Route, body: Buffer, { jsonDepth }: Reading): Promise<Facts> {
  const { pathModel, endpoint } = route
  if (pathModel?.toLowerCase().startsWith('arn:') === true) {
    throw new GovernorError('MODEL_INVALID', {
      detail: 'the model in the path is an ARN',
      hint: 'Call the model by its id or the id of an inference profile.',
    })
  }
  const { api } = endpoint
  const facts = await inspectBody(body, jsonDepth, (doc) => look(doc, api))
  return { ...withPathModel(facts, pathModel), stream: BEDROCK_STREAMS.has(api) }
}

function look(doc: JsonDocument, api: string): Inspected {
  const isInvoked = api === 'invoke' || api === 'invoke_stream'
  if (isInvoked && doc.member(0, 'anthropic_version') !== -1) {
    refuseModel(doc, 0)
    return lookAtMessage(doc)
  }
  const marks = new Marks(doc)
  const prompts: number[] = []
  const end = doc.next(0)
  if (end === 1) throw fieldInvalid(doc, 0, 'must have a message or a prompt')
  for (let key = 1; key < end; key = doc.next(key + 1)) {
    const name = doc.text(key)
    if (!DECISIVE.has(name)) checkFolded(doc, key, DECISIVE)
    if (!NOT_PROMPT.has(name)) prompts.push(key + 1)
  }
  if (!isInvoked && api !== 'count_tokens') checkConverse(doc)
  refuseModel(doc, 0)
  refuseModel(doc, doc.given(0, HANDED_ON))
  markBelow(doc, marks)
  return {
    models: [],
    stream: false,
    maxOutputTokens: readCap(doc),
    tools: toolNames(doc),
    uninspectable: marks.uninspectable,
    payloads: marks.payloads,
    runs: marks.runs,
    prompts,
    withKeys: new Set(),
  }
}

/** Some servers take a model in the body for the one that is asked. */
function refuseModel(doc: JsonDocument, object: number): void {
  for (const name of ['model', 'models', 'fallbacks']) {
    const node = object === -1 ? -1 : doc.given(object, name)
    if (node !== -1) throw fieldInvalid(doc, node, 'must not be given: the path names the model')
  }
}

function checkConverse(doc: JsonDocument): void {
  const messages = readKind(doc, 0, 'messages', 'ARRAY')
  // What is said then is in a prompt that is kept elsewhere.
  if (messages === -1) throw fieldInvalid(doc, 0, 'must have messages')
  for (const message of doc.children(messages)) {
    if (doc.kind(message) !== KIND.OBJECT) throw fieldInvalid(doc, message, 'must be an object')
    if (readKind(doc, message, 'content', 'ARRAY') === -1) {
      throw fieldInvalid(doc, message, 'must have content')
    }
  }
}

function markBelow(doc: JsonDocument, marks: Marks): void {
  for (let node = 1; node < doc.count;) {
    if (doc.kind(node) !== KIND.KEY) {
      node++
      continue
    }
    const name = doc.word(node)
    // `input` is a tool's; above all else it holds what is counted.
    if (FREE.has(name) && doc.parent(node) !== 0) {
      node = doc.next(node + 1)
      continue
    }
    const kind = OPAQUE.get(name)
    if (kind !== undefined && doc.kind(node + 1) !== KIND.NULL) mark(doc, node + 1, kind, marks)
    node++
  }
}

/** Bytes inside of an image are the image's. */
function mark(doc: JsonDocument, node: number, kind: UninspectableKind, marks: Marks): void {
  if (doc.kind(node) === KIND.STRING) marks.payload(node, true)
  const isInner = doc.isKey(node - 1, 'bytes') && isMarked(doc, doc.parent(node))
  if (!isInner) marks.add(kind, node)
}

function isMarked(doc: JsonDocument, source: number): boolean {
  const holder = doc.parent(source)
  if (source <= 0 || holder <= 0 || doc.kind(holder) !== KIND.OBJECT) return false
  const key = holder - 1
  return doc.kind(key) === KIND.KEY && OPAQUE.has(doc.word(key))
}

/** The largest that was sent: which of several a model's server heeds is its own affair. */
function readCap(doc: JsonDocument): number | null {
  const caps: number[] = []
  const take = (object: number, name: string): void => {
    const cap = readInteger(doc, object, name, 0)
    if (cap !== null) caps.push(cap)
  }
  for (const form of [0, doc.given(0, HANDED_ON)]) {
    if (form === -1 || doc.kind(form) !== KIND.OBJECT) continue
    for (const name of CAPS) take(form, name)
    for (const [outer, inner] of CONFIGS) {
      const config = readKind(doc, form, outer, 'OBJECT')
      if (config !== -1) take(config, inner)
    }
  }
  return caps.length === 0 ? null : Math.max(...caps)
}

/** Names of tools, in the forms that Bedrock's models have for them. */
function toolNames(doc: JsonDocument): string[] {
  const names = new Set<string>()
  for (let node = 1; node < doc.count; node++) {
    if (doc.kind(node) !== KIND.KEY) continue
    const isSpec = ['toolSpec', 'systemTool', 'function'].some((name) => doc.isKey(node, name))
    const name = isSpec ? doc.given(node + 1, 'name') : -1
    if (name !== -1 && doc.kind(name) === KIND.STRING) names.add(doc.copy(name))
  }
  return [...names]
}
