/** What inspection of a body finds besides its texts. */
import type { Uninspectable, UninspectableKind } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'

/** Pointers kept of each kind; more of a kind change no decision. */
export const MARKS_PER_KIND_MAX = 16

/** Shorter base64 is scanned as text: it costs nothing and may be a word. */
export const PAYLOAD_CHARS_MIN = 64
/** Encoders escape slashes, and of a payload of this size not a hundredth of it. */
const ESCAPED_BYTES_MAX = 1024 * 1024
/** Media type and parameters of a data: URL (RFC 2397), scanned as text. */
const DATA_URL = /^data:[^,]{0,256};base64,/i
const NOT_BASE64 = /[^A-Za-z0-9+/=_\r\n-]/
const LINE_END = /[\r\n]/

/** Collects uninspectable parts and base64 payload of one body. */
export class Marks {
  readonly uninspectable: Uninspectable[] = []
  /** Payload string node → characters at its start that are text. */
  readonly payloads = new Map<number, number>()
  /** Messages of one role that follow each other. */
  readonly runs: number[][] = []
  readonly #doc: JsonDocument
  readonly #counts = new Map<UninspectableKind, number>()

  constructor(doc: JsonDocument) {
    this.#doc = doc
  }

  /** Notes that the value at `node` cannot be read here. */
  add(kind: UninspectableKind, node: number): void {
    const count = this.#counts.get(kind) ?? 0
    if (count === MARKS_PER_KIND_MAX) return
    this.#counts.set(kind, count + 1)
    this.uninspectable.push({ kind, pointer: this.#doc.pointer(node) })
  }

  /**
   * As `payload`, of what a provider signed. It is marked nowhere, so that lines of words, which no
   * provider sends, stay a text.
   */
  signature(node: number): void {
    if (this.#doc.kind(node) !== KIND.STRING) return
    this.payload(node, true)
    if (this.payloads.has(node) && LINE_END.test(this.#doc.text(node))) this.payloads.delete(node)
  }

  /**
   * Takes a string that the API defines as base64 (`raw`) or as a URL out of the texts, when base64
   * is really what it holds. Anything else stays a text.
   */
  payload(node: number, raw: boolean): void {
    const doc = this.#doc
    // Decoding it would hold the loop; read as a text it is decoded in stretches.
    if (doc.isEscaped(node) && doc.end(node) - doc.start(node) > ESCAPED_BYTES_MAX) return
    const text = doc.text(node)
    const head = DATA_URL.exec(text)?.[0].length ?? 0
    if (head === 0 && !raw) return
    if (text.length - head < PAYLOAD_CHARS_MIN) return
    if (!NOT_BASE64.test(head === 0 ? text : text.slice(head))) this.payloads.set(node, head)
  }
}
