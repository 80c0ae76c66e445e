/** Turns a request body of the Anthropic API into facts. */
import type { Facts, Reading, Route, UninspectableKind } from '../exchange.ts'
import { markBlocks } from './anthropic-blocks.ts'
import { type FormShape, inspectForm } from './form.ts'
import { type Inspected, inspectBody, inspectPath } from './inspect-body.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { walkModels } from './model-walk.ts'
import {
  checkFolded,
  fieldInvalid,
  modelInvalid,
  readBoolean,
  readInteger,
} from './openai-fields.ts'
import { Marks } from './openai-marks.ts'
import { MessageRuns } from './openai-prompt.ts'

const FIELDS: ReadonlySet<string> = new Set([
  'billing_policy',
  'cache_control',
  'compaction',
  'container',
  'context_management',
  'diagnostics',
  'fallback_credit_token',
  'fallbacks',
  'inference_geo',
  'max_tokens',
  'mcp_servers',
  'messages',
  'metadata',
  'model',
  'models',
  'output_config',
  'output_format',
  'requests',
  'service_tier',
  'speed',
  'stop_sequences',
  'stream',
  'system',
  'temperature',
  'thinking',
  'thread',
  'tool_choice',
  'tools',
  'top_k',
  'top_p',
])
const PROMPTS: ReadonlySet<string> = new Set(['system', 'messages'])
/** Of these a model reads the keys, too. */
const DEFINITIONS: ReadonlySet<string> = new Set(['tools', 'output_config', 'output_format'])
/** State that the provider keeps, and servers that it calls. */
const BROUGHT: ReadonlyMap<string, UninspectableKind> = new Map([
  ['container', 'reference'],
  ['thread', 'reference'],
  ['mcp_servers', 'hosted_tool'],
])
const ROLES = new Set(['user', 'assistant', 'system'])
/** Tools with a form of Anthropic's that the caller runs itself; each result comes back through here. */
const RUN_BY_CALLER = /^(?:bash|text_editor|computer|memory)_\d{8}$/

/** The upload of a file. */
const FILE: FormShape = { files: { file: 'file' }, needs: ['file'] }

/** Facts of one request. Throws BODY_INVALID, FIELD_INVALID, MODEL_INVALID. */
export async function inspect(route: Route, body: Buffer, reading: Reading): Promise<Facts> {
  const { boundary, jsonDepth } = reading
  const { api, body: form } = route.endpoint
  if (boundary !== undefined) return inspectForm(FILE, route, body, { ...reading, boundary })
  if (form === 'none') return inspectPath(route, body)
  return inspectBody(body, jsonDepth, (doc) => new Look(doc).found(api))
}

/** The same of a message whose model is named elsewhere, as in the path of another provider. */
export function lookAtMessage(doc: JsonDocument): Inspected {
  return new Look(doc, true).found('messages')
}

/** One look at one body. */
class Look {
  readonly #doc: JsonDocument
  readonly #marks: Marks
  readonly #prompts: number[] = []
  readonly #withKeys = new Set<number>()
  readonly #tools = new Set<string>()
  readonly #isNamed: boolean
  #cap: number | null = null

  constructor(doc: JsonDocument, isNamed = false) {
    this.#doc = doc
    this.#isNamed = isNamed
    this.#marks = new Marks(doc)
  }

  found(api: string): Inspected {
    const isBatch = api === 'messages.batches.create'
    if (isBatch) this.#batch()
    else this.#message(0)
    const { uninspectable, payloads, runs } = this.#marks
    return {
      models: walkModels(this.#doc),
      stream: !isBatch && readBoolean(this.#doc, 0, 'stream'),
      maxOutputTokens: this.#cap,
      tools: [...this.#tools],
      uninspectable,
      payloads,
      runs,
      prompts: this.#prompts,
      withKeys: this.#withKeys,
    }
  }

  /** Each request of a batch is looked at as a request of its own; the facts are those of all. */
  #batch(): void {
    const doc = this.#doc
    for (const key of this.#members(0)) {
      if (!FIELDS.has(doc.text(key))) checkFolded(doc, key, FIELDS)
    }
    const requests = this.#list(0, 'requests')
    for (const request of doc.children(requests)) {
      const params = doc.given(request, 'params')
      if (params === -1) throw fieldInvalid(doc, request, 'must have params')
      if (doc.kind(params) !== KIND.OBJECT) throw fieldInvalid(doc, params, 'must be an object')
      this.#message(params)
    }
  }

  #message(root: number): void {
    const doc = this.#doc
    const model = doc.given(root, 'model')
    if (!this.#isNamed) this.#checkModel(root, model)
    for (const key of this.#members(root)) this.#member(key)
    const cap = readInteger(doc, root, 'max_tokens', 0)
    if (cap !== null && cap > (this.#cap ?? -1)) this.#cap = cap
    this.#messages(this.#list(root, 'messages'))
    const system = doc.given(root, 'system')
    if (system !== -1) this.#content(system)
    this.#toolsOf(root)
  }

  #checkModel(root: number, model: number): void {
    const doc = this.#doc
    if (model === -1) throw modelInvalid(`${doc.pointer(root)}/model`, 'must be given')
    if (doc.kind(model) !== KIND.STRING) throw modelInvalid(doc.pointer(model), 'must be a string')
  }

  #member(key: number): void {
    const doc = this.#doc
    const name = doc.text(key)
    const isKnown = FIELDS.has(name)
    if (!isKnown) checkFolded(doc, key, FIELDS)
    // What nobody knows may be made a prompt by some server.
    if (!isKnown || PROMPTS.has(name)) this.#prompts.push(key + 1)
    else if (DEFINITIONS.has(name)) {
      this.#prompts.push(key + 1)
      this.#withKeys.add(key + 1)
    }
    const brought = BROUGHT.get(name)
    if (brought === undefined || doc.kind(key + 1) === KIND.NULL) return
    const isEmpty = doc.kind(key + 1) === KIND.ARRAY && doc.next(key + 1) === key + 2
    if (!isEmpty) this.#marks.add(brought, key + 1)
  }

  #messages(messages: number): void {
    const doc = this.#doc
    const runs = new MessageRuns(this.#marks)
    const end = doc.next(messages)
    for (let message = messages + 1; message < end; message = doc.next(message)) {
      if (doc.kind(message) !== KIND.OBJECT) throw fieldInvalid(doc, message, 'must be an object')
      const role = doc.member(message, 'role')
      if (role === -1) throw fieldInvalid(doc, message, 'must have a role')
      if (doc.kind(role) !== KIND.STRING || !ROLES.has(doc.word(role))) {
        throw fieldInvalid(doc, role, `must be one of ${[...ROLES].join(', ')}`)
      }
      const content = doc.given(message, 'content')
      if (content === -1) throw fieldInvalid(doc, message, 'must have content')
      runs.add(message, doc.word(role))
      this.#content(content)
    }
  }

  /** A string or blocks. */
  #content(content: number): void {
    const kind = this.#doc.kind(content)
    if (kind === KIND.STRING) return
    if (kind !== KIND.ARRAY) {
      throw fieldInvalid(this.#doc, content, 'must be a string or an array of content blocks')
    }
    markBlocks(this.#doc, content, this.#marks)
  }

  #toolsOf(root: number): void {
    const doc = this.#doc
    const tools = doc.given(root, 'tools')
    if (tools === -1) return
    if (doc.kind(tools) !== KIND.ARRAY) throw fieldInvalid(doc, tools, 'must be an array')
    for (const tool of doc.children(tools)) {
      if (doc.kind(tool) !== KIND.OBJECT) throw fieldInvalid(doc, tool, 'must be an object')
      const type = this.#word(tool, 'type')
      const name = this.#word(tool, 'name')
      if (name !== '') this.#tools.add(name)
      if (type === '' || type === 'custom') continue
      this.#tools.add(type)
      if (!RUN_BY_CALLER.test(type)) this.#marks.add('hosted_tool', tool)
    }
  }

  /** A short string member; '' when absent or null. */
  #word(object: number, name: string): string {
    const doc = this.#doc
    const node = doc.given(object, name)
    if (node === -1) return ''
    if (doc.kind(node) !== KIND.STRING) throw fieldInvalid(doc, node, 'must be a string')
    if (doc.word(node) === '' && doc.end(node) - doc.start(node) > 2) {
      throw fieldInvalid(doc, node, 'must be at most 1024 characters')
    }
    return doc.copy(node)
  }

  #list(root: number, name: string): number {
    const doc = this.#doc
    const list = doc.member(root, name)
    if (list === -1) throw fieldInvalid(doc, root, `must have ${name}`)
    if (doc.kind(list) !== KIND.ARRAY || doc.next(list) === list + 1) {
      throw fieldInvalid(doc, list, 'must be a non-empty array')
    }
    return list
  }

  *#members(object: number): Generator<number> {
    const end = this.#doc.next(object)
    for (let key = object + 1; key < end; key = this.#doc.next(key + 1)) yield key
  }
}
