/** Edits of texts as edits of the bytes they were sent in. */
import type { Edited, Splice, TextEdit } from '../exchange.ts'
import { escaped, fitEdits, type Piece } from './json-fit.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { STRETCH_BYTES } from './steps.ts'

/** Members beside which nothing may be changed: what they hold was made over it, or stands for it. */
const SEALS = ['signature', 'thought_signature', 'thoughtSignature', 'encrypted_content']
/** Edits placed between two breaths: about a millisecond. */
const EDITS_PER_BREATH = 1024
const NOT_DIGITS = /[^0-9-]/
const BACKSLASH = 0x5c
const LETTER_U = 0x75

/**
 * Splices that make `edits`, which are in order and do not overlap, in the texts of `nodes`. Refused
 * where an edit is in a key, in a part that is signed or goes with encrypted content, or would leave a
 * text that was JSON and is none.
 */
export function* editTexts(
  doc: JsonDocument,
  nodes: readonly number[],
  edits: readonly TextEdit[],
): Generator<void, Edited> {
  const splices: Splice[] = []
  let breathAt = EDITS_PER_BREATH
  for (let first = 0; first < edits.length;) {
    const index = edits[first]?.index ?? 0
    let last = first
    while (last < edits.length && edits[last]?.index === index) last++
    const node = nodes[index] ?? 0
    const some = edits.slice(first, last)
    const refused = refusedAt(doc, node)
    if (refused !== null) return { refused }
    if (doc.kind(node) === KIND.NUMBER) splices.push(numberSplice(doc, node, some))
    else if (!(yield* spliceString(doc, node, { edits: some, splices }))) {
      return { refused: 'JSON inside a text' }
    }
    first = last
    if (splices.length < breathAt) continue
    breathAt = splices.length + EDITS_PER_BREATH
    yield
  }
  return { splices }
}

/** What a text is in that cannot be edited; null where it can. */
function refusedAt(doc: JsonDocument, node: number): string | null {
  if (isSealed(doc, node)) return 'a signed or encrypted part'
  return doc.kind(node) === KIND.STRING || doc.kind(node) === KIND.NUMBER ? null : 'an object key'
}

/** Adds the splices of one string; false where they would leave no JSON of a text that is JSON. */
function* spliceString(
  doc: JsonDocument,
  node: number,
  { edits, splices }: { readonly edits: readonly TextEdit[]; readonly splices: Splice[] },
): Generator<void, boolean> {
  const pieces = yield* fitEdits(yield* doc.textInSteps(node), edits)
  if (pieces !== null) yield* spliceToken(doc, node, { pieces, splices })
  return pieces !== null
}

/** A number as its reader would write it: `4.1e3` is `4100`; as it was sent where that is no integer. */
export function numberText(doc: JsonDocument, node: number): string {
  const sent = doc.bytes.toString('latin1', doc.start(node), doc.end(node))
  if (!NOT_DIGITS.test(sent)) return sent
  const value = Number(sent)
  return Number.isSafeInteger(value) ? String(value) : sent
}

/** What is left of a number with a part masked is a text. */
function numberSplice(doc: JsonDocument, node: number, edits: readonly TextEdit[]): Splice {
  const text = numberText(doc, node)
  let made = ''
  let from = 0
  for (const edit of edits) {
    made += text.slice(from, edit.start) + edit.text
    from = edit.end
  }
  made += text.slice(from)
  return { start: doc.start(node), end: doc.end(node), text: JSON.stringify(made) }
}

/** Whether an object around the node, other than the body itself, bears a seal. */
function isSealed(doc: JsonDocument, node: number): boolean {
  for (let at = doc.parent(node); at > 0; at = doc.parent(at)) {
    if (doc.kind(at) !== KIND.OBJECT) continue
    const type = doc.given(at, 'type')
    if (type !== -1 && doc.isString(type, 'redacted_thinking')) return true
    for (const name of SEALS) {
      const seal = doc.given(at, name)
      if (seal !== -1 && !doc.isString(seal, '')) return true
    }
  }
  return false
}

/** Adds the splices of one string: where its characters are among the bytes is found in one pass. */
function* spliceToken(
  doc: JsonDocument,
  node: number,
  { pieces, splices }: { readonly pieces: readonly Piece[]; readonly splices: Splice[] },
): Generator<void, void> {
  const first = doc.start(node) + 1
  if (doc.isPlain(node)) {
    for (const { start, end, text } of pieces) {
      splices.push({ start: first + start, end: first + end, text: escaped(text) })
    }
    return
  }
  const cursor = new TokenCursor(doc.bytes, first)
  let behind = first
  for (const [index, { start, end, text }] of pieces.entries()) {
    if (index % EDITS_PER_BREATH === EDITS_PER_BREATH - 1) yield
    yield* cursor.seek(start)
    const from = Math.max(behind, cursor.at)
    if (end > start) yield* cursor.seek(end - 1)
    behind = end > start ? cursor.end : from
    splices.push({ start: from, end: behind, text: escaped(text) })
  }
}

/** Walks the characters of a string token, each of one or two UTF-16 units. */
class TokenCursor {
  readonly #bytes: Buffer
  /** First byte of the character at hand. */
  at: number
  #unit = 0

  constructor(bytes: Buffer, first: number) {
    this.#bytes = bytes
    this.at = first
  }

  /** Byte behind the character at hand. */
  get end(): number {
    return this.at + (this.#size() >> 2)
  }

  /** Goes forward to the character that holds unit `unit`. */
  *seek(unit: number): Generator<void, void> {
    for (let steps = 1; ; steps++) {
      const size = this.#size()
      const units = size & 3
      if (this.#unit + units > unit) return
      this.#unit += units
      this.at += size >> 2
      if (steps % STRETCH_BYTES === 0) yield
    }
  }

  /** Bytes times four, plus units: 1, or 2 for what is a surrogate pair. */
  #size(): number {
    const byte = this.#bytes[this.at] ?? 0
    if (byte === BACKSLASH) return this.#escapeSize()
    if (byte < 0x80) return (1 << 2) | 1
    if (byte < 0xe0) return (2 << 2) | 1
    return byte < 0xf0 ? (3 << 2) | 1 : (4 << 2) | 2
  }

  #escapeSize(): number {
    if (this.#bytes[this.at + 1] !== LETTER_U) return (2 << 2) | 1
    const digits = this.#bytes.toString('latin1', this.at + 2, this.at + 6)
    const unit = Number.parseInt(digits, 16)
    // A low one never comes first: the body was read without lone surrogates.
    return unit >= 0xd800 && unit <= 0xdbff ? (12 << 2) | 2 : (6 << 2) | 1
  }
}
