/**
 * Ids in request bodies, of what a provider keeps: found by the names of members wherever they are, in
 * JSON, in fields of forms and in every line of a file of requests.
 */
import { GovernorError } from '../errors.ts'
import type { Reading } from '../exchange.ts'
import type { Reference, References } from '../nouns/owned.ts'
import { handleId } from './created.ts'
import type { FormReading } from './form.ts'
import { foldKey } from './json-fold.ts'
import { KIND } from './json-tape.ts'
import { type JsonDocument, readJson } from './json.ts'
import { parseForm, type Part } from './multipart.ts'

/** More in one body than any endpoint takes. */
export const REFERENCES_MAX = 4096

const THINGS =
  'file|response|conversation|thread|assistant|vector_?store|container|batch|eval|run|message|upload|cached_?content'
/** `file_id`, `vector_store_ids`, `previous_response_id`, `inputFileId` … */
const NAME = new RegExp(`^(?:[a-z_]*_)?(?:${THINGS})_?ids?$`)
const NAMES: ReadonlySet<string> = new Set([
  'cachedcontent',
  'cached_content',
  'container',
  'conversation',
  'file_uri',
  'files',
  'fileuri',
  'input_file',
  'test_file',
  'thread',
  'training_file',
  'validation_file',
])
/** Members whose object is known by its `id`. */
const HOLDERS: ReadonlySet<string> = new Set([
  'assistant',
  'audio',
  'container',
  'conversation',
  'file',
  'thread',
  'video',
  'voice',
])
/** Members of a call whose list has objects that are known by their `id`, or ids. */
const LISTS: ReadonlySet<string> = new Set(['characters'])
/** Clients write objects and lists as `input_reference[file_id]`, `characters[0][id]` into names of fields. */
const BRACKETS = /[[\].]+/
/** Skills of the providers' own have plain names. */
const OWN_SKILL = /^skill_/
/** Types of objects that are known by their `id`. */
const TYPES: ReadonlySet<string> = new Set(['file_id', 'item_reference', 'container_reference'])
/** Members that are lists of items. */
const ITEM_LISTS: ReadonlySet<string> = new Set(['input', 'items'])
/** Sources of evaluations that are what all callers of an account have had answered. */
const EVERYBODY: ReadonlySet<string> = new Set(['logs', 'responses', 'stored_completions'])
/** Members that providers hand back as they are, and look nothing up for. */
const UNREAD: ReadonlySet<string> = new Set(['metadata'])
/** Beside an id, words about it. What else stands there may be content. */
const ABOUT: ReadonlySet<string> = new Set([
  'context',
  'detail',
  'filename',
  'format',
  'memory_limit',
  'media_type',
  'name',
  'title',
  'ttl',
  'type',
])
/** Purposes of files whose lines are requests or examples. */
const LINES: ReadonlySet<string> = new Set(['batch', 'fine-tune', 'evals'])

/** Whether a body could hold anything that `findReferences` finds; escaped names count. */
const HINT = new RegExp(
  `(?:${THINGS})_?ids?"|${[...NAMES, ...TYPES, ...EVERYBODY].map((name) => `"${name}"`).join('|')}` +
    // A member's name: what is said by the role of that name is in most conversations.
    '|"(?:store|background|handle|characters)"|"(?:assistant|audio|file|video|voice)"\\s*:|"skill_|\\\\u00[4-7]',
  'i',
)
/** Items that are handed back are known by `id` alone. */
const ITEMS = /"(?:input|items?)"/i
const ITEM_ID = /"id"/i
/** Longer bodies are read without looking for a hint first. */
const HINT_BYTES_MAX = 64 * 1024
const LF = 0x0a

/** What is in a body without any. */
export const NO_REFERENCES: References = {
  named: [],
  carried: [],
  everybody: null,
  stores: null,
  speaks: false,
  isBackground: false,
  mixed: new Set(),
}

/** Whether it is worth looking; a microsecond for an ordinary call. */
export function mayRefer(body: Buffer, { boundary }: Pick<Reading, 'boundary'>): boolean {
  if (body.length === 0) return false
  if (boundary !== undefined || body.length > HINT_BYTES_MAX) return true
  const text = body.toString('latin1')
  return HINT.test(text) || (ITEMS.test(text) && ITEM_ID.test(text))
}

/**
 * All that a body that was accepted refers to; yields. Throws FIELD_INVALID where it is more than
 * `REFERENCES_MAX`, and BODY_INVALID for one that was not accepted.
 */
export function* findReferences(body: Buffer, reading: Reading): Generator<void, References> {
  const finder = new Finder()
  const { boundary, jsonDepth } = reading
  if (boundary === undefined) finder.read(yield* readJson(body, jsonDepth), '')
  else yield* readForm(finder, body, { ...reading, boundary })
  return finder
}

function* readForm(
  finder: Finder,
  body: Buffer,
  { boundary, jsonDepth, holes }: FormReading,
): Generator<void, void> {
  const parts = parseForm(body, boundary, holes)
  const textOf = ({ start, end }: Part) => body.toString('utf8', start, end)
  const purpose = parts.find(({ name, filename }) => name === 'purpose' && filename === null)
  const hasLines = purpose !== undefined && LINES.has(textOf(purpose))
  for (const part of parts) {
    const { name, filename, start, end } = part
    if (filename === null) {
      const text = textOf(part)
      if (isNamingField(name, text)) finder.add(text, `/${name}`)
    } else if (hasLines && name === 'file') {
      yield* readLines(finder, body.subarray(start, end), jsonDepth)
    }
  }
}

function* readLines(finder: Finder, file: Buffer, jsonDepth: number): Generator<void, void> {
  let line = 0
  for (let from = 0; from < file.length;) {
    const found = file.indexOf(LF, from)
    const to = found === -1 ? file.length : found
    line++
    const bytes = file.subarray(from, to)
    if (bytes.length > 1 && mayRefer(bytes, {})) {
      finder.read(yield* readJson(bytes, jsonDepth), `/file/${line}`)
      yield
    }
    from = to + 1
  }
}

function isName(folded: string): boolean {
  return NAMES.has(folded) || NAME.test(folded)
}

/** As of members of JSON, by the words of a field's name. */
function isNamingField(field: string, text: string): boolean {
  const words = foldKey(field)
    .split(BRACKETS)
    .filter((word) => !/^\d*$/.test(word))
  const [base = ''] = words
  const name = words.at(-1) ?? ''
  if (isName(base) || isName(name) || name === 'consent' || LISTS.has(name)) return true
  if (name === 'skill_id') return OWN_SKILL.test(text)
  const holder = words.at(-2) ?? ''
  return name === 'id' && (HOLDERS.has(holder) || LISTS.has(holder))
}

class Finder implements References {
  readonly named: Reference[] = []
  readonly carried: Reference[] = []
  readonly mixed = new Set<string>()
  everybody: string | null = null
  stores: boolean | null = null
  speaks = false
  isBackground = false
  /** Containers that hold more than ids, and those that hold ids, of the document that is read. */
  readonly #mixed = new Set<number>()
  readonly #naming = new Set<number>()

  add(id: string, pointer: string): void {
    if (id === '') return
    push(this.named, { id, pointer })
  }

  read(doc: JsonDocument, at: string): void {
    if (at === '') {
      const store = doc.given(0, 'store')
      if (store !== -1) this.stores = doc.kind(store) !== KIND.FALSE
      this.speaks = doc.given(0, 'audio') !== -1
      const background = doc.given(0, 'background')
      this.isBackground = background !== -1 && doc.kind(background) === KIND.TRUE
    }
    this.#mixed.clear()
    this.#naming.clear()
    for (let node = 0; node < doc.count;) {
      node = doc.kind(node) === KIND.KEY ? this.#member(doc, node, at) : node + 1
    }
    for (const node of this.#naming) {
      if (this.#mixed.has(node)) this.mixed.add(`${at}${doc.pointer(node)}`)
    }
  }

  /** Looks at one member; returns the node to go on with. */
  #member(doc: JsonDocument, key: number, at: string): number {
    const name = foldKey(doc.word(key))
    const value = key + 1
    if (UNREAD.has(name) || isArguments(doc, key)) return doc.next(value)
    if (doc.kind(value) === KIND.STRING) this.#text(doc, key, { name, at })
    else if (doc.kind(value) === KIND.ARRAY) {
      this.#array(doc, value, { isIds: isName(name) || isOwnList(doc, key), at })
    }
    return key + 1
  }

  #array(doc: JsonDocument, array: number, { isIds, at }: { isIds: boolean; at: string }): void {
    for (const child of doc.children(array)) {
      if (doc.kind(child) !== KIND.STRING) continue
      if (isIds) this.#add(doc, child, at)
      else return note(this.#mixed, doc, child)
    }
  }

  #text(doc: JsonDocument, key: number, { name, at }: { name: string; at: string }): void {
    const value = key + 1
    if (isNoId(doc, key, name)) return
    if (isResumed(doc, key, name)) return this.#resume(doc, value, at)
    if (isName(name) || isNaming(doc, key, name)) return this.#add(doc, value, at)
    if (name === 'type' && isEverybodys(doc, value, doc.parent(key))) {
      this.everybody ??= `${at}${doc.pointer(value)}`
    }
    if (name === 'id' && isItem(doc, doc.parent(key))) {
      push(this.carried, { id: doc.copy(value), pointer: `${at}${doc.pointer(value)}` })
    }
    if (!ABOUT.has(name)) note(this.#mixed, doc, value)
  }

  #resume(doc: JsonDocument, node: number, at: string): void {
    push(this.named, { id: handleId(doc.copy(node)), pointer: `${at}${doc.pointer(node)}` })
  }

  #add(doc: JsonDocument, node: number, at: string): void {
    this.add(doc.copy(node), `${at}${doc.pointer(node)}`)
    note(this.#naming, doc, node)
  }
}

/** Throws FIELD_INVALID where that is one more than may be. */
function push(references: Reference[], reference: Reference): void {
  if (references.length === REFERENCES_MAX) {
    throw new GovernorError('FIELD_INVALID', {
      detail: `it names more than ${REFERENCES_MAX} stored things`,
      param: reference.pointer,
    })
  }
  references.push(reference)
}

/** Adds all that holds `node`, but for the root. */
function note(nodes: Set<number>, doc: JsonDocument, node: number): void {
  for (let holder = doc.parent(node); holder > 0 && !nodes.has(holder);) {
    nodes.add(holder)
    holder = doc.parent(holder)
  }
}

/** Arguments of a tool are the caller's own JSON. */
function isArguments(doc: JsonDocument, key: number): boolean {
  if (!doc.isKey(key, 'input') || doc.kind(key + 1) !== KIND.OBJECT) return false
  const type = doc.given(doc.parent(key), 'type')
  return type !== -1 && doc.kind(type) === KIND.STRING && doc.word(type).endsWith('tool_use')
}

/** Gemini's live sessions go on from a former one by its handle. */
function isResumed(doc: JsonDocument, key: number, name: string): boolean {
  return name === 'handle' && /^session_?resumption$/.test(holderOf(doc, doc.parent(key)))
}

/** In a realtime session a response says of which conversation it is in one of two words. */
function isNoId(doc: JsonDocument, key: number, name: string): boolean {
  if (name !== 'conversation') return false
  const word = doc.word(key + 1)
  return (word === 'none' || word === 'auto') && holderOf(doc, doc.parent(key)) === 'response'
}

/** Whether a member whose name says less is an id of what is kept. */
function isNaming(doc: JsonDocument, key: number, name: string): boolean {
  if (name === 'id') return isKnownById(doc, doc.parent(key))
  return name === 'skill_id' && OWN_SKILL.test(doc.word(key + 1))
}

function isKnownById(doc: JsonDocument, object: number): boolean {
  const type = doc.given(object, 'type')
  if (type !== -1 && doc.kind(type) === KIND.STRING && TYPES.has(doc.word(type))) return true
  if (HOLDERS.has(holderOf(doc, object))) return true
  const list = doc.parent(object)
  if (list > 0 && doc.kind(list) === KIND.ARRAY && isOwnList(doc, list - 1)) return true
  return isListed(doc, object) && isIdAlone(doc, object, type)
}

/** Whether a list is one of `LISTS`, of a call or of a line of a file of requests; others may have its name. */
function isOwnList(doc: JsonDocument, key: number): boolean {
  const call = doc.parent(key)
  if (doc.kind(key) !== KIND.KEY || !LISTS.has(foldKey(doc.word(key)))) return false
  return call === 0 || (doc.parent(call) === 0 && holderOf(doc, call) === 'body')
}

/** Whether an object is one of the items of the Responses and Realtime APIs. */
function isItem(doc: JsonDocument, object: number): boolean {
  return holderOf(doc, object) === 'item' || isListed(doc, object)
}

function isListed(doc: JsonDocument, object: number): boolean {
  const list = doc.parent(object)
  return list > 0 && doc.kind(list) === KIND.ARRAY && ITEM_LISTS.has(holderOf(doc, list))
}

/** A reference may leave its type out, and an image is handed back by its id. */
function isIdAlone(doc: JsonDocument, item: number, type: number): boolean {
  if (type === -1) return doc.given(item, 'role') === -1
  const isImage = doc.kind(type) === KIND.STRING && doc.word(type) === 'image_generation_call'
  return isImage && doc.given(item, 'result') === -1
}

/** The folded name of the member whose value `object` is. */
function holderOf(doc: JsonDocument, object: number): string {
  const holder = object > 0 && doc.kind(object - 1) === KIND.KEY ? object - 1 : -1
  return holder === -1 ? '' : foldKey(doc.word(holder))
}

/** Whether the type of `object` is a source that is all that anybody keeps. */
function isEverybodys(doc: JsonDocument, type: number, object: number): boolean {
  if (!EVERYBODY.has(doc.word(type))) return false
  return ['source', 'data_source'].includes(holderOf(doc, object))
}
