/** Shapes of chat messages, Responses items and embedding inputs. */
import type { UninspectableKind } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { markContent } from './openai-content.ts'
import { fieldInvalid } from './openai-fields.ts'
import type { Marks } from './openai-marks.ts'

const CHAT_ROLES = new Set(['system', 'developer', 'user', 'assistant', 'tool', 'function'])
const ITEM_ROLES = new Set(['user', 'assistant', 'system', 'developer'])

/** Items of the Responses API whose strings are all there is; null, or the kind of the others. */
const ITEM_KINDS: ReadonlyMap<string, UninspectableKind | null> = new Map([
  ['message', null],
  ['reasoning', null],
  ['function_call', null],
  ['function_call_output', null],
  ['custom_tool_call', null],
  ['custom_tool_call_output', null],
  ['file_search_call', null],
  ['web_search_call', null],
  ['code_interpreter_call', null],
  ['local_shell_call', null],
  ['local_shell_call_output', null],
  ['shell_call', null],
  ['shell_call_output', null],
  ['apply_patch_call', null],
  ['apply_patch_call_output', null],
  ['mcp_list_tools', null],
  ['mcp_call', null],
  ['mcp_approval_request', null],
  ['computer_call', null],
  ['additional_tools', null],
  ['tool_search_call', null],
  ['tool_search_output', null],
  ['compaction', 'encrypted'],
  ['computer_call_output', 'image'],
  ['image_generation_call', 'image'],
  ['item_reference', 'reference'],
  ['mcp_approval_response', 'reference'],
])

/** Finds messages of one role that follow each other: a word may be cut between them. */
export class MessageRuns {
  readonly #marks: Marks
  #last = -1
  #role = ''
  #run: number[] | null = null

  constructor(marks: Marks) {
    this.#marks = marks
  }

  /** The next message; '' where it has no role. */
  add(message: number, role: string): void {
    if (role !== this.#role || role === '') this.#run = null
    else if (this.#run !== null) this.#run.push(message)
    else this.#marks.runs.push((this.#run = [this.#last, message]))
    this.#last = message
    this.#role = role
  }
}

/** `messages` of chat/completions: a non-empty array of objects with a known role. */
export function inspectMessages(doc: JsonDocument, marks: Marks): number {
  const messages = doc.member(0, 'messages')
  if (messages === -1) throw fieldInvalid(doc, 0, 'must have messages')
  if (doc.kind(messages) !== KIND.ARRAY || doc.next(messages) === messages + 1) {
    throw fieldInvalid(doc, messages, 'must be a non-empty array')
  }
  const runs = new MessageRuns(marks)
  const end = doc.next(messages)
  for (let message = messages + 1; message < end; message = doc.next(message)) {
    if (doc.kind(message) !== KIND.OBJECT) throw fieldInvalid(doc, message, 'must be an object')
    const role = doc.member(message, 'role')
    if (role === -1) throw fieldInvalid(doc, message, 'must have a role')
    checkRole(doc, role, CHAT_ROLES)
    runs.add(message, doc.word(role))
    checkContent(doc, message)
  }
  markContent(doc, messages, marks)
  return messages
}

/** `input` of responses, or `items` of a conversation: a string or items; -1 when it was not sent. */
export function inspectItems(doc: JsonDocument, marks: Marks, name = 'input'): number {
  const input = doc.given(0, name)
  if (input === -1 || doc.kind(input) === KIND.STRING) return input
  if (doc.kind(input) !== KIND.ARRAY) {
    throw fieldInvalid(doc, input, 'must be a string or an array of items')
  }
  const runs = new MessageRuns(marks)
  const end = doc.next(input)
  for (let item = input + 1; item < end; item = doc.next(item)) {
    if (doc.kind(item) !== KIND.OBJECT) throw fieldInvalid(doc, item, 'must be an object')
    inspectItem(doc, item, marks)
    const role = doc.given(item, 'role')
    runs.add(item, role === -1 ? '' : doc.word(role))
  }
  markContent(doc, input, marks)
  return input
}

function inspectItem(doc: JsonDocument, item: number, marks: Marks): void {
  const role = doc.given(item, 'role')
  if (role !== -1) checkRole(doc, role, ITEM_ROLES)
  checkContent(doc, item)
  const type = doc.given(item, 'type')
  if (type === -1) {
    if (role !== -1) return
    // An item reference may leave its type out; then an id is all it has.
    if (doc.given(item, 'id') === -1) throw fieldInvalid(doc, item, 'must have a type or a role')
    return marks.add('reference', item)
  }
  if (doc.kind(type) !== KIND.STRING) throw fieldInvalid(doc, type, 'must be a string')
  const name = doc.word(type)
  const kind = ITEM_KINDS.get(name)
  if (kind === null) return
  marks.add(kind ?? 'file', item)
  const result = name === 'image_generation_call' ? doc.given(item, 'result') : -1
  if (result !== -1 && doc.kind(result) === KIND.STRING) marks.payload(result, true)
}

/** `input` of embeddings: a string, strings, or token ids. */
export function inspectEmbeddingInput(doc: JsonDocument, marks: Marks): number {
  if (doc.member(0, 'input') === -1) throw fieldInvalid(doc, 0, 'must have input')
  return inspectTextOrTokens(doc, 'input', marks)
}

/** A field that is a string, strings, or token ids; -1 when it was not sent. */
export function inspectTextOrTokens(doc: JsonDocument, name: string, marks: Marks): number {
  const input = doc.member(0, name)
  if (input === -1 || doc.kind(input) === KIND.STRING) return input
  if (doc.kind(input) !== KIND.ARRAY) {
    throw fieldInvalid(doc, input, 'must be a string, an array of strings, or token ids')
  }
  let hasTokens = false
  const end = doc.next(input)
  for (let at = input + 1; at < end; at++) {
    const kind = doc.kind(at)
    const nested = doc.parent(at) !== input
    if (kind === KIND.STRING && !nested) continue
    if (kind !== KIND.NUMBER && (kind !== KIND.ARRAY || nested)) {
      throw fieldInvalid(doc, at, 'must be a string or token ids')
    }
    hasTokens = true
  }
  if (hasTokens) marks.add('token_ids', input)
  return input
}

function checkRole(doc: JsonDocument, role: number, known: ReadonlySet<string>): void {
  if (doc.kind(role) === KIND.STRING && known.has(doc.word(role))) return
  throw fieldInvalid(doc, role, `must be one of ${[...known].join(', ')}`)
}

function checkContent(doc: JsonDocument, message: number): void {
  const content = doc.given(message, 'content')
  if (content === -1) return
  const kind = doc.kind(content)
  if (kind === KIND.STRING || kind === KIND.ARRAY) return
  throw fieldInvalid(doc, content, 'must be a string, an array of parts, or null')
}
