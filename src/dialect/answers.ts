import type { UninspectableKind } from '../exchange.ts'
/** Every string of an answer, keys included, and how it belongs together: shared by the dialects. */
import type { AnswerContent, AnswerText } from '../nouns/answer.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { runSteps } from './steps.ts'
import { numberText } from './text-edit.ts'
import { unescapedReadings } from './unescape.ts'

/** Nodes between two yields, at about a hundred nanoseconds each. */
const NODES_PER_STRETCH = 4096

/** Members that name the structure of an answer and are said by nobody. */
export const STRUCTURE: ReadonlySet<string> = new Set([
  'call_id',
  'created',
  'finishReason',
  'finish_reason',
  'id',
  'item_id',
  'mimeType',
  'model',
  'modelVersion',
  'name',
  'native_finish_reason',
  'obfuscation',
  'object',
  'provider',
  'responseId',
  'role',
  'service_tier',
  'signature',
  'status',
  'stop_reason',
  'system_fingerprint',
  'thoughtSignature',
  'type',
])

/** Members that hold content nobody can read here. */
const OPAQUE: ReadonlyMap<string, UninspectableKind> = new Map([
  ['b64_json', 'image'],
  ['partial_image_b64', 'image'],
  ['encrypted_content', 'encrypted'],
])
/** Members whose `data` is base64. */
const DATA_OF: ReadonlyMap<string, UninspectableKind> = new Map([
  ['audio', 'audio'],
  ['inlineData', 'file'],
  ['inline_data', 'file'],
  ['source', 'file'],
])
/** Where OpenAI's lists of vectors are. */
const VECTOR = /^\/data\/[^/]*$/
/** Where arguments of tools stand that are JSON themselves, not a text of it. */
const ARGUMENTS = /\/(?:args|arguments|input)(?:\/|$)/
/** Shorter numbers are nobody's. */
const NUMBER_BYTES_MIN = 6
const IMAGE_CALL = 'image_generation_call'
const LOGPROBS = new Set(['logprobs', 'top_logprobs'])

/** What is known of the strings in a container. */
export interface Place {
  /** Names of members from the root, with `index` in place of a position; '' is the root. */
  readonly path: string
  /** The member that leads here. */
  readonly key: string
  /** Value of the log probabilities this is in; -1 when in none. */
  readonly logprobs: number
}

/** How a string goes on: its channel, and whether the model says it here; `container` is the node it is in. */
export type Belongs = (
  place: Place,
  key: string,
  container: number,
) => Pick<AnswerText, 'channel' | 'isSaid'> & { readonly isSigned?: boolean }

/** A text that is complete, and that the model did not say here. */
export const COMPLETE = { channel: null, isSaid: false } as const
/** Ends the name of a channel whose text is JSON, to be looked at as a whole. */
export const WHOLE = '!'

/** The texts of an answer, in document order. Yields. */
export function* answerContent(
  doc: JsonDocument,
  belongs: Belongs,
): Generator<undefined, AnswerContent> {
  const walk = new Walk(doc, belongs)
  for (let node = 0; node < doc.count; node++) {
    walk.visit(node)
    if (node % NODES_PER_STRETCH === NODES_PER_STRETCH - 1) yield
  }
  return walk.content()
}

/**
 * Which of its kind an element is about. What is no plain number, which a client may read as one, is the
 * first, which is what most are.
 */
export function indexOf(doc: JsonDocument, element: number): number {
  const index = doc.member(element, 'index')
  return (index === -1 ? null : doc.integer(index)) ?? 0
}

class Walk {
  readonly #doc: JsonDocument
  readonly #belongs: Belongs
  readonly #places = new Map<number, Place>()
  readonly #texts: AnswerText[] = []
  /** Indexes of texts by the array whose elements bear them. */
  readonly #parts = new Map<number, number[]>()
  /** Tokens by the value of their log probabilities. */
  readonly #tokens = new Map<number, string[]>()
  #uninspectable: UninspectableKind | null = null

  constructor(doc: JsonDocument, belongs: Belongs) {
    this.#doc = doc
    this.#belongs = belongs
    this.#places.set(0, { path: '', key: '', logprobs: -1 })
  }

  visit(node: number): void {
    const doc = this.#doc
    const kind = doc.kind(node)
    if (node === 0) return
    const parent = doc.parent(node)
    const place = this.#places.get(parent)!
    if (kind === KIND.KEY) this.#addKey(node)
    else if (kind === KIND.OBJECT || kind === KIND.ARRAY) this.#enter(node, parent, place)
    else if (kind === KIND.STRING) this.#addString(node, parent, place)
    else if (kind === KIND.NUMBER) this.#addNumber(node, parent, place)
  }

  content(): AnswerContent {
    for (const [node, tokens] of this.#tokens) {
      const place = this.#places.get(node)!
      const { channel } = this.#belongs(place, 'token', node)
      if (channel === null && tokens.length < 2) continue
      this.#texts.push({ ...this.#span(node), text: tokens.join(''), channel, isSaid: false })
    }
    const joined = [...this.#parts.values()].filter(({ length }) => length > 1)
    return { texts: this.#texts, joined, uninspectable: this.#uninspectable }
  }

  #enter(node: number, parent: number, { path, key, logprobs }: Place): void {
    const doc = this.#doc
    if (doc.kind(parent) === KIND.ARRAY) {
      this.#places.set(node, { path: `${path}/${indexOf(doc, node)}`, key, logprobs })
      return
    }
    const name = doc.text(node - 1)
    const isLogprobs = logprobs === -1 && LOGPROBS.has(name)
    this.#places.set(node, {
      path: `${path}/${name}`,
      key: name,
      logprobs: isLogprobs ? node : logprobs,
    })
  }

  /** Keys of log probabilities are the API's own; everywhere else one may be anything. */
  #addKey(node: number): void {
    const doc = this.#doc
    const text = doc.text(node)
    const [start, end] = [doc.start(node), doc.end(node)]
    this.#texts.push({ text, start, end, kind: 'fixed', channel: null, isSaid: false })
  }

  #addString(node: number, parent: number, place: Place): void {
    const doc = this.#doc
    const inObject = doc.kind(parent) === KIND.OBJECT
    const key = inObject ? doc.text(node - 1) : place.key
    const text = doc.text(node)
    const opaque = inObject ? this.#opaque(key, parent, place) : null
    if (opaque !== null) {
      if (text !== '') this.#uninspectable ??= opaque
    } else if (place.logprobs !== -1) this.#addToken(place, key, text)
    // A vector, as base64: numbers that say nothing to a reader.
    else if (key !== 'embedding' || !VECTOR.test(place.path)) this.#addText(node, key, place)
  }

  /** Arguments of tools are read as they stand: a number of theirs may be one of a card. */
  #addNumber(node: number, parent: number, place: Place): void {
    const doc = this.#doc
    const [start, end] = [doc.start(node), doc.end(node)]
    if (end - start < NUMBER_BYTES_MIN || !ARGUMENTS.test(place.path)) return
    const key = doc.kind(parent) === KIND.OBJECT ? doc.text(node - 1) : place.key
    const { isSaid } = this.#belongs(place, key, parent)
    this.#texts.push({
      text: numberText(doc, node),
      start,
      end,
      kind: 'text',
      channel: null,
      isSaid,
    })
  }

  #addText(node: number, key: string, place: Place): void {
    const doc = this.#doc
    const { channel, isSaid, isSigned = false } = this.#belongs(place, key, doc.parent(node))
    const isJson = key === 'arguments' || channel?.endsWith(WHOLE) === true
    const kind = isSigned ? 'fixed' : isJson ? 'json' : 'text'
    const [start, end] = [doc.start(node), doc.end(node)]
    if (key === 'text' && channel === null) this.#addPart(doc.parent(doc.parent(node)))
    this.#texts.push({ text: doc.text(node), start, end, kind, channel, isSaid })
  }

  #addPart(array: number): void {
    if (array === -1 || this.#doc.kind(array) !== KIND.ARRAY) return
    const parts = this.#parts.get(array)
    if (parts === undefined) this.#parts.set(array, [this.#texts.length])
    else parts.push(this.#texts.length)
  }

  /** The tokens that were drawn spell the text again; the alternatives are looked at one by one. */
  #addToken({ path, logprobs }: Place, key: string, text: string): void {
    if (text === '') return
    const isDrawn = key === 'token' && !path.includes('top_logprobs')
    if (isDrawn) {
      const tokens = this.#tokens.get(logprobs)
      if (tokens === undefined) this.#tokens.set(logprobs, [text])
      else tokens.push(text)
    }
    this.#texts.push({ ...this.#span(logprobs), text, channel: null, isSaid: false })
  }

  #span(node: number): Pick<AnswerText, 'start' | 'end' | 'kind'> {
    return { start: this.#doc.start(node), end: this.#doc.end(node), kind: 'tokens' }
  }

  #opaque(key: string, parent: number, place: Place): UninspectableKind | null {
    if (key === 'data') return this.#opaqueData(parent, place)
    if (key !== 'result') return OPAQUE.get(key) ?? null
    return this.#isOfType(parent, IMAGE_CALL) ? 'image' : null
  }

  #opaqueData(parent: number, place: Place): UninspectableKind | null {
    const kind = DATA_OF.get(place.key)
    if (kind !== undefined) return kind
    return this.#isOfType(parent, 'redacted_thinking') ? 'encrypted' : null
  }

  #isOfType(node: number, name: string): boolean {
    const type = this.#doc.member(node, 'type')
    return type !== -1 && this.#doc.isString(type, name)
  }
}

/** Every reading of `text` with JSON escapes removed, up to three levels deep. */
export function readings(text: string): readonly string[] {
  return runSteps(unescapedReadings(text))
}
