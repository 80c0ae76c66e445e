/**
 * Content that reaches the model without being readable here: found by member name anywhere in the
 * prompt, and by type for parts and items of a type that is not known to be text.
 */
import type { UninspectableKind } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { fieldInvalid } from './openai-fields.ts'
import type { Marks } from './openai-marks.ts'

/** Members whose non-null value is content of this kind. */
export const OPAQUE_MEMBERS: ReadonlyMap<string, UninspectableKind> = new Map([
  ['image_url', 'image'],
  ['image_file', 'image'],
  ['images', 'image'],
  ['input_audio', 'audio'],
  ['audio_url', 'audio'],
  ['audio', 'reference'],
  ['video_url', 'file'],
  ['file', 'file'],
  ['file_data', 'file'],
  ['file_id', 'file'],
  ['file_url', 'file'],
  ['encrypted_content', 'encrypted'],
])
/** Members that hold base64 without saying so in a data: URL. */
const RAW_PAYLOADS = new Set([
  'audio',
  'file_data',
  'data',
  'encrypted_content',
  'images',
  'result',
])

const TEXT_PARTS = new Set([
  'text',
  'input_text',
  'output_text',
  'refusal',
  'reasoning_text',
  'summary_text',
])
const PART_KINDS: ReadonlyMap<string, UninspectableKind> = new Map([
  ['image_url', 'image'],
  ['input_image', 'image'],
  ['image', 'image'],
  ['computer_screenshot', 'image'],
  ['input_audio', 'audio'],
  ['item_reference', 'reference'],
])

/** Marks what is opaque below `root` (messages, input, prediction), in document order. */
export function markContent(doc: JsonDocument, root: number, marks: Marks): void {
  const end = doc.next(root)
  let node = root + 1
  while (node < end) {
    if (doc.kind(node) !== KIND.KEY) node++
    else if (isToolsOfItem(doc, node, root)) node = doc.next(node + 1)
    else node = markMember(doc, node, marks)
  }
}

/**
 * The same of the member at `key`, its own name included, for bodies of any form. `more` names
 * members beside those above.
 */
export function markBelow(
  doc: JsonDocument,
  key: number,
  marks: Marks,
  more: ReadonlyMap<string, UninspectableKind>,
): void {
  const end = doc.next(key + 1)
  let node = key
  while (node < end) {
    if (doc.kind(node) !== KIND.KEY) {
      node++
      continue
    }
    const kind = more.get(doc.word(node))
    if (kind === undefined || doc.kind(node + 1) === KIND.NULL) {
      node = markMember(doc, node, marks)
      continue
    }
    marks.add(kind, node + 1)
    markPayloads(doc, node + 1, doc.word(node), marks)
    node = doc.next(node + 1)
  }
}

/** Definitions of tools hold schemas, in which `file_id` is a name, not content. */
function isToolsOfItem(doc: JsonDocument, key: number, root: number): boolean {
  return doc.parent(doc.parent(key)) === root && doc.isKey(key, 'tools')
}

/** Looks at one member; returns the node to go on with. */
function markMember(doc: JsonDocument, key: number, marks: Marks): number {
  const name = doc.word(key)
  const value = key + 1
  const kind = OPAQUE_MEMBERS.get(name)
  if (kind !== undefined && doc.kind(value) !== KIND.NULL) {
    marks.add(kind, value)
    markPayloads(doc, value, name, marks)
    return doc.next(value)
  }
  if (doc.kind(value) === KIND.ARRAY) {
    if (name === 'content') markParts(doc, value, marks, true)
    else if (name === 'output' || name === 'outputs') markParts(doc, value, marks, false)
  }
  return value
}

function markPayloads(doc: JsonDocument, value: number, name: string, marks: Marks): void {
  if (doc.kind(value) === KIND.STRING) return marks.payload(value, RAW_PAYLOADS.has(name))
  const isObject = doc.kind(value) === KIND.OBJECT
  for (const child of doc.children(value)) {
    if (doc.kind(child) !== KIND.STRING) continue
    marks.payload(child, RAW_PAYLOADS.has(isObject ? doc.text(child - 1) : name))
  }
}

function markParts(doc: JsonDocument, parts: number, marks: Marks, typed: boolean): void {
  const end = doc.next(parts)
  for (let part = parts + 1; part < end; part = doc.next(part)) {
    const kind = doc.kind(part)
    if (kind === KIND.STRING) continue
    if (kind !== KIND.OBJECT) throw fieldInvalid(doc, part, 'must be a content part')
    markPart(doc, part, marks, typed)
  }
}

/**
 * Whether a part is its strings and nothing else: a text, or as Cohere has them a thought without a
 * signature, and a document that is given as a text or as an object of texts.
 */
function isPlain(doc: JsonDocument, part: number, type: string): boolean {
  if (TEXT_PARTS.has(type)) return true
  if (type !== 'thinking' && type !== 'document') return false
  const content = doc.given(part, type)
  if (content === -1 || !hasOnly(doc, part, ['type', type])) return false
  const kind = doc.kind(content)
  if (type === 'thinking') return kind === KIND.STRING
  return kind === KIND.OBJECT && hasOnly(doc, content, ['data', 'id'])
}

function hasOnly(doc: JsonDocument, object: number, names: readonly string[]): boolean {
  return [...doc.children(object)].every((value) => names.includes(doc.text(value - 1)))
}

function markPart(doc: JsonDocument, part: number, marks: Marks, typed: boolean): void {
  const typeNode = doc.member(part, 'type')
  if (typeNode === -1 && !typed) return
  const type = typeNode !== -1 && doc.kind(typeNode) === KIND.STRING ? doc.word(typeNode) : ''
  if (isPlain(doc, part, type) || (!typed && type === 'logs')) return
  // Where a member says what it is, that member is marked when the walk comes to it.
  for (const value of doc.children(part)) {
    if (doc.kind(value) !== KIND.NULL && OPAQUE_MEMBERS.has(doc.text(value - 1))) return
  }
  marks.add(PART_KINDS.get(type) ?? 'file', part)
}
