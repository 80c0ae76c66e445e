/** Content blocks of the Anthropic API: which can be read here, and what stands for the others. */
import type { UninspectableKind } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { fieldInvalid } from './openai-fields.ts'
import type { Marks } from './openai-marks.ts'

/** Types whose strings are all there is. */
const READABLE: ReadonlySet<string> = new Set([
  'text',
  'thinking',
  'search_result',
  'compaction',
  'tool_reference',
  'tool_addition',
  'tool_removal',
  'tool_definition',
])
/** So are calls of tools and what they returned; what is opaque in them is found by its name. */
const READABLE_NAME = /(?:tool_use|_result|_output|_error)$/
const OPAQUE: ReadonlyMap<string, UninspectableKind> = new Map([
  ['image', 'image'],
  ['redacted_thinking', 'encrypted'],
  ['advisor_redacted_result', 'encrypted'],
  ['encrypted_code_execution_result', 'encrypted'],
  ['container_upload', 'file'],
])
/** Members that are never text, whatever they are in. */
const OPAQUE_MEMBERS: ReadonlyMap<string, UninspectableKind> = new Map([
  ['encrypted_content', 'encrypted'],
  ['encrypted_index', 'encrypted'],
  ['encrypted_stdout', 'encrypted'],
  ['file_id', 'file'],
])

/**
 * Marks what cannot be read below `root`, a message's content or the system prompt. Throws
 * FIELD_INVALID for content that is not a list of typed blocks.
 */
export function markBlocks(doc: JsonDocument, root: number, marks: Marks): void {
  const end = doc.next(root)
  if (doc.kind(root) === KIND.ARRAY) markList(doc, root, marks)
  for (let node = root + 1; node < end;) {
    if (doc.kind(node) !== KIND.KEY) node++
    // Arguments of a tool are the caller's own JSON: all its strings are texts.
    else if (doc.isKey(node, 'input')) node = doc.next(node + 1)
    else node = markMember(doc, node, marks)
  }
}

function markMember(doc: JsonDocument, key: number, marks: Marks): number {
  const value = key + 1
  const kind = OPAQUE_MEMBERS.get(doc.word(key))
  if (kind !== undefined && doc.kind(value) !== KIND.NULL) {
    marks.add(kind, value)
    if (doc.kind(value) === KIND.STRING) marks.payload(value, true)
  } else if (doc.isKey(key, 'content') && doc.kind(value) === KIND.ARRAY) {
    markList(doc, value, marks)
  } else if (doc.isKey(key, 'signature') && isThinking(doc, doc.parent(key))) {
    marks.signature(value)
  }
  return value
}

/** What alone is signed: in any other block the same name may hold what somebody reads. */
function isThinking(doc: JsonDocument, block: number): boolean {
  const type = doc.given(block, 'type')
  return type !== -1 && doc.isString(type, 'thinking')
}

function markList(doc: JsonDocument, list: number, marks: Marks): void {
  const end = doc.next(list)
  for (let block = list + 1; block < end; block = doc.next(block)) {
    if (doc.kind(block) !== KIND.OBJECT) throw fieldInvalid(doc, block, 'must be a content block')
    const node = doc.member(block, 'type')
    if (node === -1) throw fieldInvalid(doc, block, 'must have a type')
    if (doc.kind(node) !== KIND.STRING) throw fieldInvalid(doc, node, 'must be a string')
    markBlock(doc, block, doc.word(node), marks)
  }
}

function markBlock(doc: JsonDocument, block: number, type: string, marks: Marks): void {
  const source = doc.given(block, 'source')
  if (type === 'document' && source !== -1 && isReadableSource(doc, source)) return
  const kind = OPAQUE.get(type)
  if (kind === undefined && (READABLE.has(type) || READABLE_NAME.test(type))) return
  marks.add(kind ?? 'file', block)
  for (const [holder, name] of [
    [source, 'data'],
    [block, 'data'],
  ] as const) {
    const data = holder === -1 ? -1 : doc.given(holder, name)
    if (data !== -1 && doc.kind(data) === KIND.STRING) marks.payload(data, true)
  }
}

/** Plain text, or blocks that are looked at when the walk comes to them. */
function isReadableSource(doc: JsonDocument, source: number): boolean {
  const type = doc.given(source, 'type')
  return type !== -1 && (doc.isString(type, 'text') || doc.isString(type, 'content'))
}
