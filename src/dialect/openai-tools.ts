import { KIND } from './json-tape.ts'
/** Tools of a request: names for policy, and which of them act outside this proxy. */
import type { JsonDocument } from './json.ts'
import { fieldInvalid } from './openai-fields.ts'
import type { Marks } from './openai-marks.ts'

/** Tools that the caller runs itself; each of its results comes back through here. */
const OWN_TOOLS = new Set(['function', 'custom'])

/** Arrays whose elements may bring tools of their own. */
const ITEM_ARRAYS = ['input', 'messages']

/**
 * Names of function and custom tools and types of all others, from `/tools`, `/functions` and the
 * `tools` of items and messages, without repeats. Marks every tool that the provider runs. Throws
 * FIELD_INVALID.
 */
export function inspectTools(doc: JsonDocument, marks: Marks): string[] {
  const names = new Set<string>()
  inspectArray(doc, doc.given(0, 'tools'), marks, names)
  const functions = doc.given(0, 'functions')
  if (functions !== -1) {
    for (const each of elements(doc, functions)) addName(doc, each, names)
  }
  for (const field of ITEM_ARRAYS) {
    const items = doc.given(0, field)
    if (items !== -1 && doc.kind(items) === KIND.ARRAY) inspectItems(doc, items, marks, names)
  }
  return [...names]
}

function inspectItems(doc: JsonDocument, items: number, marks: Marks, names: Set<string>): void {
  for (let item = items + 1; item < doc.next(items); item = doc.next(item)) {
    const tools = doc.given(item, 'tools')
    if (tools === -1) continue
    const type = doc.given(item, 'type')
    const isListing = type !== -1 && doc.isString(type, 'mcp_list_tools')
    if (!isListing) inspectArray(doc, tools, marks, names)
    else for (const tool of elements(doc, tools)) addName(doc, tool, names)
  }
}

/** As `inspectTools`, of the tools in one array, into `names`. Throws FIELD_INVALID. */
export function inspectArray(
  doc: JsonDocument,
  array: number,
  marks: Marks,
  names: Set<string>,
): void {
  if (array === -1) return
  for (const tool of elements(doc, array)) inspectTool(doc, tool, marks, names)
}

function inspectTool(doc: JsonDocument, tool: number, marks: Marks, names: Set<string>): void {
  const typeNode = doc.member(tool, 'type')
  if (typeNode === -1) throw fieldInvalid(doc, tool, 'must have a type')
  if (doc.kind(typeNode) !== KIND.STRING) throw fieldInvalid(doc, typeNode, 'must be a string')
  const type = readName(doc, typeNode)
  if (OWN_TOOLS.has(type)) {
    const wrapped = doc.given(tool, type)
    const isWrapped = wrapped !== -1 && doc.kind(wrapped) === KIND.OBJECT
    return addName(doc, isWrapped ? wrapped : tool, names)
  }
  names.add(type)
  if (type === 'namespace') return inspectArray(doc, doc.given(tool, 'tools'), marks, names)
  marks.add('hosted_tool', tool)
}

function addName(doc: JsonDocument, node: number, names: Set<string>): void {
  const name = doc.given(node, 'name')
  if (name === -1) return
  if (doc.kind(name) !== KIND.STRING) throw fieldInvalid(doc, name, 'must be a string')
  names.add(readName(doc, name))
}

function readName(doc: JsonDocument, node: number): string {
  if (doc.word(node) === '' && doc.end(node) - doc.start(node) > 2) {
    throw fieldInvalid(doc, node, 'must be at most 1024 characters')
  }
  return doc.copy(node)
}

function* elements(doc: JsonDocument, array: number): Generator<number> {
  if (doc.kind(array) !== KIND.ARRAY) throw fieldInvalid(doc, array, 'must be an array or null')
  for (const element of doc.children(array)) {
    if (doc.kind(element) !== KIND.OBJECT) throw fieldInvalid(doc, element, 'must be an object')
    yield element
  }
}
