/** A page of a list of stored things, read and cut without touching the rest of its bytes. */
import { KIND } from './json-tape.ts'
import { type JsonDocument, readJson } from './json.ts'

const DEPTH_MAX = 128
const COMMA = Buffer.from(',')

/** A page, in the bytes it came in. */
export interface StoredPage {
  /** Of its elements, in their order; '' for one without an id. */
  readonly ids: readonly string[]
  /** Whether the provider has more of them. */
  readonly hasMore: boolean
  /**
   * The same bytes with only those elements that `kept` holds, by place in `ids`; `first_id` and `last_id`,
   * where the page has them, name what is left.
   */
  cut(kept: readonly boolean[]): Buffer
}

/** Reads a page, yielding while it is long. Throws BODY_INVALID; null for an answer that holds no list, or things beside it. */
export function* readStoredPage(bytes: Buffer): Generator<void, StoredPage | null> {
  const doc = yield* readJson(bytes, DEPTH_MAX)
  const list = doc.member(0, 'data')
  if (list === -1 || doc.kind(list) !== KIND.ARRAY || holdsBeside(doc, list)) return null
  const elements = [...doc.children(list)]
  const ids = elements.map((element) => idOf(doc, element))
  const more = doc.member(0, 'has_more')
  return {
    ids,
    hasMore: more !== -1 && doc.kind(more) === KIND.TRUE,
    cut: (kept) => {
      if (kept.every((each) => each)) return bytes
      const left = elements.filter((_, index) => kept[index] === true)
      const leftIds = ids.filter((_, index) => kept[index] === true)
      const parts = left.map((element) => bytes.subarray(doc.start(element), doc.end(element)))
      return replaced(bytes, [
        {
          node: list,
          doc,
          by: Buffer.concat([Buffer.from('['), ...joined(parts), Buffer.from(']')]),
        },
        ...end(doc, 'first_id', leftIds[0]),
        ...end(doc, 'last_id', leftIds.at(-1)),
      ])
    },
  }
}

/** Whether another list of things stands beside `list`: whose they are nobody would look at. */
function holdsBeside(doc: JsonDocument, list: number): boolean {
  const after = doc.next(0)
  for (let key = 1; key < after; key = doc.next(key + 1)) {
    const value = key + 1
    if (value === list || doc.kind(value) !== KIND.ARRAY) continue
    for (const child of doc.children(value)) {
      if (doc.kind(child) === KIND.OBJECT && idOf(doc, child) !== '') return true
    }
  }
  return false
}

interface Replacement {
  readonly doc: JsonDocument
  readonly node: number
  readonly by: Buffer
}

function end(doc: JsonDocument, name: string, id: string | undefined): Replacement[] {
  const node = doc.member(0, name)
  return node === -1 ? [] : [{ doc, node, by: Buffer.from(JSON.stringify(id ?? null)) }]
}

function joined(parts: readonly Buffer[]): Buffer[] {
  return parts.flatMap((part, index) => (index === 0 ? [part] : [COMMA, part]))
}

function replaced(bytes: Buffer, replacements: readonly Replacement[]): Buffer {
  const inOrder = [...replacements].sort((a, b) => a.doc.start(a.node) - b.doc.start(b.node))
  const pieces: Buffer[] = []
  let from = 0
  for (const { doc, node, by } of inOrder) {
    pieces.push(bytes.subarray(from, doc.start(node)), by)
    from = doc.end(node)
  }
  return Buffer.concat([...pieces, bytes.subarray(from)])
}

function idOf(doc: JsonDocument, element: number): string {
  const node = doc.given(element, 'id')
  return node !== -1 && doc.kind(node) === KIND.STRING ? doc.copy(node) : ''
}
