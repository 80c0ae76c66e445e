/**
 * Every string of a body, keys included, and what a reader could make of them: JSON escapes inside
 * a text decoded, text parts of an array joined. Time and memory are linear in the body.
 */
import type { Texts } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { STRETCH_BYTES } from './steps.ts'
import { unescapedReadings } from './unescape.ts'

/** What the dialect knows that the tree does not say. */
export interface TextMarks {
  /** String nodes that are base64 payload → characters at their start that are text all the same. */
  readonly payloads: ReadonlyMap<number, number>
  /** Values whose strings are prompt content, in document order. */
  readonly prompts: readonly number[]
}

/** Texts, and the UTF-16 units of those that are prompt content. */
export interface Collected {
  readonly texts: Texts
  readonly inputChars: number
}

/** Members that name the structure of a prompt and are not part of it. */
const STRUCTURE = new Set(['role', 'type', 'id', 'call_id', 'tool_call_id', 'status', 'detail'])

/** Nodes between two yields, at a few tens of nanoseconds each. */
const NODES_PER_STRETCH = 16 * 1024

/** Values in document order first, then the readings derived from them. */
export function* collectTexts(doc: JsonDocument, marks: TextMarks): Generator<void, Collected> {
  const collector = new Collector(doc, marks)
  for (let node = 0; node < doc.count; node += NODES_PER_STRETCH) {
    if (node > 0) yield
    collector.collect(node, Math.min(node + NODES_PER_STRETCH, doc.count))
  }
  yield* collector.join()
  yield* collector.unescape()
  const { values, nodes, inputChars } = collector
  return { texts: new NodeTexts(doc, values, nodes), inputChars }
}

class NodeTexts implements Texts {
  readonly values: readonly string[]
  readonly #doc: JsonDocument
  readonly #nodes: readonly number[]

  constructor(doc: JsonDocument, values: readonly string[], nodes: readonly number[]) {
    this.values = values
    this.#doc = doc
    this.#nodes = nodes
  }

  pointer(index: number): string {
    const node = this.#nodes[index]
    if (node === undefined) throw new RangeError(`no text ${index}`)
    const path = this.#doc.pointer(node)
    return this.#doc.kind(node) === KIND.KEY ? `${path}#key` : path
  }
}

class Collector {
  readonly values: string[] = []
  /** The node of each value; of joined parts, their array. */
  readonly nodes: number[] = []
  inputChars = 0
  readonly #doc: JsonDocument
  readonly #marks: TextMarks
  readonly #arrays: number[] = []
  /** Indexes of values that hold a backslash. */
  readonly #escaped: number[] = []
  #key = ''
  /** The prompt range that is open or comes next. */
  #prompt = 0

  constructor(doc: JsonDocument, marks: TextMarks) {
    this.#doc = doc
    this.#marks = marks
  }

  collect(from: number, to: number): void {
    const doc = this.#doc
    for (let node = from; node < to; node++) {
      const kind = doc.kind(node)
      if (kind === KIND.KEY) {
        this.#key = doc.text(node)
        this.#add(this.#key, node, doc.isEscaped(node))
      } else if (kind === KIND.STRING) {
        this.#addString(node)
      } else if (kind === KIND.ARRAY && doc.next(node) > node + 2) {
        this.#arrays.push(node)
      }
    }
  }

  #addString(node: number): void {
    const doc = this.#doc
    const payloadAfter = this.#marks.payloads.get(node)
    if (payloadAfter !== undefined) {
      if (payloadAfter > 0) this.#add(doc.text(node).slice(0, payloadAfter), node, false)
      return
    }
    const text = doc.text(node)
    this.#add(text, node, doc.isEscaped(node))
    if (this.#isPrompt(node)) this.inputChars += text.length
  }

  #isPrompt(node: number): boolean {
    const { prompts } = this.#marks
    while (this.#prompt < prompts.length) {
      const prompt = prompts[this.#prompt] ?? 0
      if (node < prompt) return false
      if (node < this.#doc.next(prompt)) {
        const inObject = this.#doc.kind(this.#doc.parent(node)) === KIND.OBJECT
        return node === prompt || !inObject || !STRUCTURE.has(this.#key)
      }
      this.#prompt++
    }
    return false
  }

  #add(text: string, node: number, mayHoldBackslash: boolean): void {
    if (mayHoldBackslash && text.includes('\\')) this.#escaped.push(this.values.length)
    this.values.push(text)
    this.nodes.push(node)
  }

  /** Adds the text parts of each array that has two or more, joined without anything between. */
  *join(): Generator<void> {
    const doc = this.#doc
    let worked = 0
    for (const array of this.#arrays) {
      let joined = ''
      let parts: string[] = []
      let count = 0
      for (let at = array + 1; at < doc.next(array); at = doc.next(at)) {
        const part = this.#textPart(at)
        if (part !== null) count++
        if (part !== null) parts.push(part)
        worked += 1 + (part === null ? 0 : part.length >> 4)
        if (worked < NODES_PER_STRETCH) continue
        joined += parts.join('')
        parts = []
        worked = 0
        yield
      }
      if (count > 1) this.#add(joined + parts.join(''), array, true)
    }
  }

  #textPart(node: number): string | null {
    const doc = this.#doc
    const value = doc.kind(node) === KIND.OBJECT ? doc.member(node, 'text') : node
    if (value === -1 || doc.kind(value) !== KIND.STRING) return null
    return this.#marks.payloads.has(value) ? null : doc.text(value)
  }

  /** Adds the readings of every text collected so far that holds a backslash. */
  *unescape(): Generator<void> {
    let worked = 0
    for (const index of this.#escaped) {
      const text = this.values[index] ?? ''
      for (const reading of yield* unescapedReadings(text)) {
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
