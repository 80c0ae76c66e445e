/** Turns a request body of the Gemini API into facts. */
import type { Facts, Route, UninspectableKind } from '../exchange.ts'
import { type Inspected, inspectBody, inspectPath, withPathModel } from './inspect-body.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { walkModels } from './model-walk.ts'
import { fieldInvalid, readInteger } from './openai-fields.ts'
import { Marks } from './openai-marks.ts'
import { MessageRuns } from './openai-prompt.ts'

/** Google reads a field in camelCase and in snake_case: here both are one name. */
export function plain(name: string): string {
  return name.replaceAll('_', '').toLowerCase()
}

/** Names by which something is decided, as `plain` spells them → as they have to be spelled. */
const DECISIVE = decisive([
  'cachedContent',
  'content',
  'contents',
  'generateContentRequest',
  'generationConfig',
  'inlineData',
  'fileData',
  'maxOutputTokens',
  'model',
  'parts',
  'requests',
  'systemInstruction',
  'text',
  'tools',
])

/** Names by which something is decided, by what `plain` makes of them. */
export function decisive(names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [plain(name), name]))
}

const PROMPTS: ReadonlySet<string> = new Set([
  'contents',
  'content',
  'systeminstruction',
  'generatecontentrequest',
  'requests',
])

/** Members of a part whose strings are all there is. */
const READABLE: ReadonlySet<string> = new Set([
  'text',
  'thought',
  'thoughtsignature',
  'functioncall',
  'functionresponse',
  'executablecode',
  'codeexecutionresult',
  'videometadata',
  'mediaresolution',
  'partmetadata',
])
/** JSON of the caller's own, in which names mean nothing to Google. */
const FREE: ReadonlySet<string> = new Set([
  'args',
  'response',
  'parameters',
  'parametersjsonschema',
  'responseschema',
  'responsejsonschema',
  'labels',
])
const MEDIA: readonly (readonly [RegExp, UninspectableKind])[] = [
  [/^image\//i, 'image'],
  [/^audio\//i, 'audio'],
]

/** Facts of one request. Throws BODY_INVALID, FIELD_INVALID, MODEL_INVALID. */
export async function inspect(
  route: Route,
  body: Buffer,
  { jsonDepth }: { readonly jsonDepth: number },
): Promise<Facts> {
  const { api, body: form } = route.endpoint
  if (form === 'none') return inspectPath(route, body)
  const facts = await inspectBody(body, jsonDepth, (doc) => new Look(doc).found(api))
  return withPathModel(facts, route.pathModel)
}

/** What has to be there, by endpoint: one of these. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  generateContent: ['contents'],
  streamGenerateContent: ['contents'],
  countTokens: ['contents', 'generateContentRequest'],
  embedContent: ['content'],
  batchEmbedContents: ['requests'],
}

/** What a message of a session brings beside what a body does. */
export interface MoreNames {
  /** Names by which something is decided; `turns` are contents. */
  readonly decisive: ReadonlyMap<string, string>
  /** Members whose value nobody can read here, by `plain` name; null: what its media type says. */
  readonly opaque: ReadonlyMap<string, UninspectableKind | null>
}

const NO_MORE: MoreNames = { decisive: new Map(), opaque: new Map() }

/** One look at one body. */
export class Look {
  readonly #doc: JsonDocument
  readonly #marks: Marks
  readonly #more: MoreNames
  readonly #tools = new Set<string>()
  #cap: number | null = null

  constructor(doc: JsonDocument, more: MoreNames = NO_MORE) {
    this.#doc = doc
    this.#more = more
    this.#marks = new Marks(doc)
  }

  found(api: string): Inspected {
    const doc = this.#doc
    const needs = NEEDS[api] ?? []
    if (!needs.some((name) => doc.given(0, name) !== -1)) {
      throw fieldInvalid(doc, 0, `must have ${needs.join(' or ')}`)
    }
    return { ...this.below(0), stream: api === 'streamGenerateContent' }
  }

  /** What is found, with the prompt in the members of `root`. */
  below(root: number): Inspected {
    const doc = this.#doc
    const prompts: number[] = []
    const withKeys = new Set<number>()
    for (const value of doc.children(root)) {
      const name = plain(doc.word(value - 1))
      if (PROMPTS.has(name) || name === 'tools') prompts.push(value)
      if (name === 'tools') withKeys.add(value)
      if (name === 'generationconfig') checkObject(doc, value)
    }
    this.#walk()
    const { uninspectable, payloads, runs } = this.#marks
    return {
      models: walkModels(doc),
      stream: false,
      maxOutputTokens: this.#cap,
      tools: [...this.#tools],
      uninspectable,
      payloads,
      runs,
      prompts,
      withKeys,
    }
  }

  /** Every member that decides, wherever it is: a request may hold others. */
  #walk(): void {
    const doc = this.#doc
    for (let node = 1; node < doc.count;) {
      if (doc.kind(node) !== KIND.KEY) {
        node++
        continue
      }
      const name = plain(doc.word(node))
      if (FREE.has(name)) {
        node = doc.next(node + 1)
        continue
      }
      this.#checkName(node, name)
      this.#member(node + 1, name)
      node++
    }
  }

  /** Camel case and snake case are taken; both at once, or another spelling, could be read two ways. */
  #checkName(key: number, name: string): void {
    const known = DECISIVE.get(name) ?? this.#more.decisive.get(name)
    if (known === undefined) return
    const doc = this.#doc
    const snake = known.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    const written = doc.word(key)
    if (written !== known && written !== snake) {
      throw fieldInvalid(doc, key, `must be spelled ${known}`)
    }
    const other = written === known ? snake : known
    if (other !== written && doc.member(doc.parent(key), other) !== -1) {
      throw fieldInvalid(doc, key, `stands beside ${other}`)
    }
  }

  #member(value: number, name: string): void {
    const doc = this.#doc
    if (doc.kind(value) === KIND.NULL) return
    if (name === 'cachedcontent') this.#marks.add('reference', value)
    else if (name === 'parts') this.#parts(value)
    else if (name === 'contents' || this.#isTurns(name)) this.#turns(value)
    else if (name === 'tools') this.#toolsOf(value)
    else if (name === 'maxoutputtokens') this.#capOf(value)
    else if (this.#more.opaque.has(name)) this.#unread(value, this.#more.opaque.get(name) ?? null)
  }

  #capOf(value: number): void {
    const doc = this.#doc
    const cap = readInteger(doc, doc.parent(value), doc.word(value - 1), 0)
    if (cap !== null && cap > (this.#cap ?? -1)) this.#cap = cap
  }

  #isTurns(name: string): boolean {
    return name === 'turns' && this.#more.decisive.has(name)
  }

  /** One piece that nobody can read, or a list of them. */
  #unread(value: number, kind: UninspectableKind | null): void {
    const doc = this.#doc
    const pieces = doc.kind(value) === KIND.ARRAY ? [...doc.children(value)] : [value]
    for (const piece of pieces) this.#opaque(piece, kind)
  }

  /** Turns of one role that follow each other, between which a word may be cut; without one it is the user's. */
  #turns(contents: number): void {
    const doc = this.#doc
    if (doc.kind(contents) !== KIND.ARRAY) {
      throw fieldInvalid(doc, contents, 'must be an array of contents')
    }
    const runs = new MessageRuns(this.#marks)
    for (const turn of doc.children(contents)) {
      if (doc.kind(turn) !== KIND.OBJECT) throw fieldInvalid(doc, turn, 'must be an object')
      const parts = doc.given(turn, 'parts')
      const role = doc.given(turn, 'role')
      const named = role === -1 ? '' : doc.word(role).toLowerCase()
      runs.add(turn, parts === -1 ? '' : named || 'user')
    }
  }

  /** A list of parts; Google takes a single one for a list of one. */
  #parts(parts: number): void {
    const doc = this.#doc
    if (doc.kind(parts) === KIND.OBJECT) return this.#part(parts)
    if (doc.kind(parts) !== KIND.ARRAY) throw fieldInvalid(doc, parts, 'must be an array of parts')
    for (const part of doc.children(parts)) {
      if (doc.kind(part) === KIND.STRING) continue
      if (doc.kind(part) !== KIND.OBJECT) throw fieldInvalid(doc, part, 'must be a part')
      this.#part(part)
    }
  }

  #part(part: number): void {
    const doc = this.#doc
    for (const value of doc.children(part)) {
      const name = plain(doc.word(value - 1))
      if (doc.kind(value) === KIND.NULL) continue
      if (name === 'thoughtsignature' && doc.kind(value) === KIND.STRING) {
        this.#marks.signature(value)
      }
      if (!READABLE.has(name)) this.#opaque(value)
    }
  }

  #opaque(value: number, kind: UninspectableKind | null = null): void {
    const doc = this.#doc
    this.#marks.add(kind ?? this.#media(value), value)
    const data = doc.given(value, 'data')
    if (data !== -1 && doc.kind(data) === KIND.STRING) this.#marks.payload(data, true)
  }

  #media(value: number): UninspectableKind {
    const doc = this.#doc
    const camel = doc.given(value, 'mimeType')
    const type = camel === -1 ? doc.given(value, 'mime_type') : camel
    const text = type !== -1 && doc.kind(type) === KIND.STRING ? doc.word(type) : ''
    return MEDIA.find(([pattern]) => pattern.test(text))?.[1] ?? 'file'
  }

  /** Declared functions are the caller's; every other tool is Google's, or calls someone else. */
  #toolsOf(tools: number): void {
    const doc = this.#doc
    if (doc.kind(tools) !== KIND.ARRAY) throw fieldInvalid(doc, tools, 'must be an array of tools')
    for (const tool of doc.children(tools)) {
      if (doc.kind(tool) !== KIND.OBJECT) throw fieldInvalid(doc, tool, 'must be an object')
      for (const value of doc.children(tool)) {
        if (doc.kind(value) === KIND.NULL) continue
        if (plain(doc.word(value - 1)) === 'functiondeclarations') this.#functions(value)
        else {
          this.#tools.add(doc.copy(value - 1))
          this.#marks.add('hosted_tool', value)
        }
      }
    }
  }

  #functions(list: number): void {
    const doc = this.#doc
    if (doc.kind(list) !== KIND.ARRAY) throw fieldInvalid(doc, list, 'must be an array')
    for (const each of doc.children(list)) {
      const name = doc.given(each, 'name')
      if (name === -1) continue
      if (doc.kind(name) !== KIND.STRING || doc.word(name) === '') {
        throw fieldInvalid(doc, name, 'must be a string of at most 1024 characters')
      }
      this.#tools.add(doc.copy(name))
    }
  }
}

function checkObject(doc: JsonDocument, value: number): void {
  const kind = doc.kind(value)
  if (kind === KIND.OBJECT || kind === KIND.NULL) return
  throw fieldInvalid(doc, value, 'must be an object or null')
}
