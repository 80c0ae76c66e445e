/**
 * Every string of a body, keys included, and what a reader could make of them: JSON escapes inside
 * a text decoded, text parts of an array joined. Time and memory are linear in the body.
 */
import type { Edited, TextEdit, TextRange, Texts } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import { type JsonDocument, readJson } from './json.ts'
import { runSteps, STRETCH_BYTES } from './steps.ts'
import { editTexts, numberText } from './text-edit.ts'
import { EscapeCursor, unescapedReadings } from './unescape.ts'

/** What the dialect knows that the tree does not say. */
export interface TextMarks {
  /** String nodes that are base64 payload → characters at their start that are text all the same. */
  readonly payloads: ReadonlyMap<number, number>
  /** Values whose strings are prompt content, in document order; keys count where `withKeys` says so. */
  readonly prompts: readonly number[]
  /** Those of `prompts` that are definitions, whose keys a model reads, too. */
  readonly withKeys: ReadonlySet<number>
  /** Messages of one role that follow each other, in document order, in lists of two or more. */
  readonly runs: readonly (readonly number[])[]
  /** Deepest nesting the body was read with, for reading it again. */
  readonly jsonDepth: number
}

/** Texts, and the UTF-16 units of those that are prompt content. */
export interface Collected {
  readonly texts: Texts
  readonly inputChars: number
}

/** Members that name the structure of a prompt and are not part of it. */
const STRUCTURE = new Set(['role', 'type', 'id', 'call_id', 'tool_call_id', 'status', 'detail'])

/** Nodes between two yields, at a few tens of nanoseconds each. */
const NODES_PER_STRETCH = 8 * 1024
/** What is read of the parts before and behind a line end that a server may put between them. */
const SEAM_UNITS = 256
/** Where a text ends or begins so, it reads the same with a line end there. */
const ENDS_APART = /\s/
/** Shorter numbers are nobody's. */
const NUMBER_BYTES_MIN = 6
/** Texts from here on are decoded once and kept, for they may be needed again. */
const KEPT_BYTES = 64 * 1024

/** Values in document order first, then the readings derived from them. */
export function* collectTexts(doc: JsonDocument, marks: TextMarks): Generator<void, Collected> {
  const collector = new Collector(doc, marks)
  for (let node = 0; node < doc.count;) {
    node = collector.collect(node, Math.min(node + NODES_PER_STRETCH, doc.count))
    if (node < doc.count) yield* collector.decode(node)
  }
  while (!collector.join(NODES_PER_STRETCH)) yield
  yield* collector.unescape()
  return collector.collected()
}

/** As `collectTexts`, at once, for short bodies. */
export function collectTextsNow(doc: JsonDocument, marks: TextMarks): Collected {
  const collector = new Collector(doc, marks)
  collector.collect(0, doc.count)
  collector.join(Number.POSITIVE_INFINITY)
  if (collector.hasEscapes) runSteps(collector.unescape())
  return collector.collected()
}

/** The tree of a short body is gone when a pointer is asked for, so it is read again. */
class NodeTexts implements Texts {
  readonly values: readonly string[]
  readonly whole?: string
  readonly #bytes: Buffer
  readonly #jsonDepth: number
  readonly #nodes: readonly number[]
  readonly #readings: number
  readonly #parents: readonly number[]
  #doc: JsonDocument | null = null
  readonly #cursors = new Map<number, EscapeCursor>()

  constructor(doc: JsonDocument, collector: Collector, jsonDepth: number) {
    const { values, nodes, readings, parents } = collector
    this.values = values
    this.#readings = readings
    this.#parents = parents
    this.#bytes = doc.bytes
    this.#jsonDepth = jsonDepth
    this.#nodes = nodes
    const plain = doc.bytes.length > STRETCH_BYTES ? undefined : doc.plain
    if (plain === undefined || collector.isRewritten) return
    const more = values.length > readings ? values.slice(readings).join('\n') : ''
    this.whole = more === '' ? plain : `${plain}\n${more}`
  }

  pointer(index: number): string {
    const node = this.#nodes[index]
    if (node === undefined) throw new RangeError(`no text ${index}`)
    const doc = (this.#doc ??= runSteps(readJson(this.#bytes, this.#jsonDepth)))
    const path = doc.pointer(node)
    return doc.kind(node) === KIND.KEY ? `${path}#key` : path
  }

  sent(range: TextRange): TextRange | null {
    let { index, start, end } = range
    while (index >= this.#readings) {
      const parent = this.#parents[index - this.#readings] ?? -1
      if (parent === -1) return null
      const cursor = this.#cursorOf(parent, index)
      start = cursor.begins(start)
      end = cursor.ends(end)
      index = parent
    }
    return { index, start, end }
  }

  #cursorOf(parent: number, reading: number): EscapeCursor {
    const known = this.#cursors.get(reading)
    if (known !== undefined) return known
    const made = new EscapeCursor(this.values[parent] ?? '')
    this.#cursors.set(reading, made)
    return made
  }

  *edit(edits: readonly TextEdit[]): Generator<void, Edited> {
    this.#doc ??= yield* readJson(this.#bytes, this.#jsonDepth)
    return yield* editTexts(this.#doc, this.#nodes, edits)
  }
}

class Collector {
  readonly values: string[] = []
  /** The node of each value; of joined parts, their array. */
  readonly nodes: number[] = []
  /** A number is not among the values as it was sent. */
  isRewritten = false
  /** Index of the first value that is derived from others. */
  readings = 0
  /** The text that each derived value is another reading of; -1 where it was joined from several. */
  readonly parents: number[] = []
  #inputChars = 0
  readonly #doc: JsonDocument
  readonly #marks: TextMarks
  readonly #arrays: number[] = []
  /** Indexes of values that hold a backslash. */
  readonly #escaped: number[] = []
  /** Long texts by node. */
  readonly #kept = new Map<number, string>()
  #key = ''
  /** The prompt range that is open or comes next. */
  #prompt = 0
  /** What `join` has come to: an array, an element of it, what was joined so far. */
  #array = 0
  #element = -1
  #parts: string[] = []

  constructor(doc: JsonDocument, marks: TextMarks) {
    this.#doc = doc
    this.#marks = marks
  }

  get hasEscapes(): boolean {
    return this.#escaped.length > 0
  }

  collected(): Collected {
    const texts = new NodeTexts(this.#doc, this, this.#marks.jsonDepth)
    return { texts, inputChars: this.#inputChars }
  }

  /** Collects nodes up to `to`, or to one that has to be decoded in steps; returns where it is. */
  collect(from: number, to: number): number {
    const doc = this.#doc
    for (let node = from; node < to; node++) {
      const kind = doc.kind(node)
      if (kind === KIND.KEY) {
        this.#key = doc.text(node)
        this.#add(this.#key, node, doc.isEscaped(node))
        if (this.#marks.withKeys.size > 0) this.#countKey(node)
      } else if (kind === KIND.STRING) {
        const isLong = doc.end(node) - doc.start(node) > KEPT_BYTES
        if (isLong && doc.isEscaped(node) && !this.#kept.has(node)) return node
        this.#addString(node)
      } else if (kind === KIND.NUMBER) {
        if (doc.end(node) - doc.start(node) >= NUMBER_BYTES_MIN) this.#addNumber(node)
      } else if (kind === KIND.ARRAY && doc.next(node) > node + 2) {
        this.#arrays.push(node)
      }
    }
    return to
  }

  /** Gives way, and decodes the text at `node` where it is a long one. */
  *decode(node: number): Generator<void, void> {
    yield
    if (this.#doc.kind(node) === KIND.STRING && this.#doc.isEscaped(node)) {
      this.#kept.set(node, yield* this.#doc.textInSteps(node))
    }
  }

  #text(node: number): string {
    return this.#kept.get(node) ?? this.#doc.text(node)
  }

  #addString(node: number): void {
    const doc = this.#doc
    const payloadAfter = this.#marks.payloads.get(node)
    if (payloadAfter !== undefined) {
      if (payloadAfter > 0) this.#add(doc.text(node).slice(0, payloadAfter), node, false)
      return
    }
    const text = this.#text(node)
    this.#add(text, node, doc.isEscaped(node))
    const prompt = this.#promptOf(node)
    if (prompt === -1) return
    const inObject = doc.kind(doc.parent(node)) === KIND.OBJECT
    if (node === prompt || !inObject || !STRUCTURE.has(this.#key)) this.#inputChars += text.length
  }

  /** In arguments and results of tools a model reads numbers as it reads texts. */
  #addNumber(node: number): void {
    const prompt = this.#promptOf(node)
    if (prompt === -1 || this.#marks.withKeys.has(prompt)) return
    const text = numberText(this.#doc, node)
    const { bytes } = this.#doc
    const sent = bytes.toString('latin1', this.#doc.start(node), this.#doc.end(node))
    this.isRewritten ||= text !== sent
    this.#add(text, node, false)
  }

  #countKey(node: number): void {
    const prompt = this.#promptOf(node)
    if (this.#marks.withKeys.has(prompt)) this.#inputChars += this.#key.length
  }

  /** The prompt that `node` is in; -1 when it is in none. */
  #promptOf(node: number): number {
    const { prompts } = this.#marks
    while (this.#prompt < prompts.length) {
      const prompt = prompts[this.#prompt] ?? 0
      if (node < prompt) return -1
      if (node < this.#doc.next(prompt)) return prompt
      this.#prompt++
    }
    return -1
  }

  #add(text: string, node: number, mayHoldBackslash: boolean): void {
    if (mayHoldBackslash && text.includes('\\')) this.#escaped.push(this.values.length)
    this.values.push(text)
    this.nodes.push(node)
  }

  /**
   * Adds the text parts of each array that has two or more, and the messages of one role that follow
   * each other, joined without anything between. True when done; stops after `budget` elements.
   */
  join(budget: number): boolean {
    if (this.#array === 0 && this.#element === -1) {
      this.readings = this.values.length
      for (const run of this.#marks.runs) this.#joinRun(run)
    }
    let left = budget
    for (; this.#array < this.#arrays.length; this.#array++) {
      left = this.#joinParts(this.#arrays[this.#array] ?? 0, left)
      if (this.#element !== -1) return false
    }
    return true
  }

  /** Goes on with one array, until it ends or `budget` does; returns what is left of that. */
  #joinParts(array: number, budget: number): number {
    let left = budget
    const end = this.#doc.next(array)
    let at = this.#element === -1 ? array + 1 : this.#element
    for (; at < end && left > 0; at = this.#doc.next(at)) {
      const part = this.#textPart(at)
      if (part !== null) this.#parts.push(part)
      left -= 1 + (part === null ? 0 : part.length >> 4)
    }
    this.#element = at < end ? at : -1
    if (at < end) return left
    if (this.#parts.length > 1) {
      this.#addJoined(this.#parts.join(''), array)
      if (this.#doc.kind(array + 1) === KIND.OBJECT) this.#addSeams(this.#parts, array)
    }
    if (this.#parts.length > 0) this.#parts = []
    return left
  }

  #joinRun(messages: readonly number[]): void {
    const texts = messages.map((message) => {
      const named = this.#doc.member(message, 'content')
      const content = named === -1 ? this.#doc.member(message, 'parts') : named
      if (content === -1) return ''
      if (this.#doc.kind(content) === KIND.STRING) return this.#text(content)
      if (this.#doc.kind(content) === KIND.OBJECT) return this.#textPart(content) ?? ''
      const parts: string[] = []
      const end = this.#doc.next(content)
      for (let at = content + 1; at < end; at = this.#doc.next(at)) {
        parts.push(this.#textPart(at) ?? '')
      }
      return parts.join('')
    })
    this.#addJoined(texts.join(''), messages[0] ?? 0)
    this.#addSeams(texts, messages[0] ?? 0)
  }

  /** Where a server puts a line end between parts, what is around it is another text. */
  #addSeams(parts: readonly string[], node: number): void {
    let last = ''
    let seams = ''
    for (const part of parts) {
      if (part === '') continue
      if (last !== '' && !ENDS_APART.test(last.slice(-1)) && !ENDS_APART.test(part.slice(0, 1))) {
        seams += `${endOf(last)}\n${beginningOf(part)}\n\n`
      }
      last = part
    }
    if (seams !== '') this.#addJoined(seams, node)
  }

  #addJoined(text: string, node: number): void {
    this.parents.push(-1)
    this.#add(text, node, true)
  }

  /** The text of an element: a string, or the one member of a part that bears text. */
  #textPart(node: number): string | null {
    const doc = this.#doc
    const value = doc.kind(node) === KIND.OBJECT ? this.#bearer(node) : node
    if (value === -1 || doc.kind(value) !== KIND.STRING) return null
    return this.#marks.payloads.has(value) ? null : this.#text(value)
  }

  /** Whatever stands beside it, `text` is what is read of a part, unless that says it is a refusal. */
  #bearer(part: number): number {
    const doc = this.#doc
    const [text, refusal] = [this.#stringOf(part, 'text'), this.#stringOf(part, 'refusal')]
    if (refusal !== -1) {
      const type = doc.member(part, 'type')
      return text === -1 || (type !== -1 && doc.isString(type, 'refusal')) ? refusal : text
    }
    return text === -1 ? this.#onlyString(part) : text
  }

  #stringOf(object: number, name: string): number {
    const value = this.#doc.member(object, name)
    return value === -1 || this.#doc.kind(value) !== KIND.STRING ? -1 : value
  }

  /** The one string of a part that is none of its structure; -1 for a message. */
  #onlyString(part: number): number {
    const doc = this.#doc
    const end = doc.next(part)
    let only = -1
    for (let key = part + 1; key < end; key = doc.next(key + 1)) {
      if (doc.kind(key + 1) !== KIND.STRING) continue
      if (doc.isKey(key, 'role')) return -1
      if (!STRUCTURE.has(doc.word(key))) only = only === -1 ? key + 1 : 0
    }
    return only > 0 ? only : -1
  }

  /** Adds the readings of every text collected so far that holds a backslash. */
  *unescape(): Generator<void> {
    let worked = 0
    for (const index of this.#escaped) {
      const text = this.values[index] ?? ''
      let parent = index
      for (const reading of yield* unescapedReadings(text)) {
        this.parents.push(parent)
        parent = this.values.length
        this.values.push(reading)
        this.nodes.push(this.nodes[index] ?? 0)
      }
      worked += 64 + text.length
      if (worked < STRETCH_BYTES) continue
      worked = 0
      yield
    }
  }
}

/** Up to where a word begins, so that no half of one is read as a whole one. */
function endOf(part: string): string {
  if (part.length <= SEAM_UNITS) return part
  const end = part.slice(-SEAM_UNITS)
  return end.slice(Math.max(0, end.search(/\s/)))
}

function beginningOf(part: string): string {
  if (part.length <= SEAM_UNITS) return part
  const beginning = part.slice(0, SEAM_UNITS)
  const cut = beginning.search(/\s\S*$/)
  return cut === -1 ? beginning : beginning.slice(0, cut)
}
