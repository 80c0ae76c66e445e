/** The list of models in an answer, of any provider here, read and cut without touching the rest. */
import { KIND } from './json-tape.ts'
import { type JsonDocument, readJson } from './json.ts'

/** Where providers put the list, and in what they name a model, in this order. */
const LISTS = ['data', 'models']
const NAMES = ['id', 'model', 'name']
const DEPTH_MAX = 64

/** A list in the bytes it came in. */
export interface ModelList {
  /** As the provider names them, in its order; '' for an element without a name. */
  readonly models: readonly string[]
  /** The same bytes without the elements that `kept` does not hold, by place in `models`. */
  cut(kept: readonly boolean[]): Buffer
}

/**
 * Reads a list of models, yielding while it is long. Throws BODY_INVALID for JSON that could be read
 * two ways; null for an answer that holds no list.
 */
export function* readModelList(bytes: Buffer): Generator<void, ModelList | null> {
  const doc = yield* readJson(bytes, DEPTH_MAX)
  for (const name of LISTS) {
    const list = doc.member(0, name)
    if (list !== -1 && doc.kind(list) === KIND.ARRAY) return listOf(doc, list)
  }
  return null
}

function listOf(doc: JsonDocument, list: number): ModelList {
  const elements = [...doc.children(list)]
  return {
    models: elements.map((element) => nameOf(doc, element)),
    cut: (kept) => {
      const { bytes } = doc
      if (kept.every((each) => each)) return bytes
      const left = elements.filter((_, index) => kept[index] === true)
      const parts = left.map((element) => bytes.subarray(doc.start(element), doc.end(element)))
      return Buffer.concat([
        bytes.subarray(0, doc.start(list) + 1),
        ...parts.flatMap((part, index) => (index === 0 ? [part] : [COMMA, part])),
        bytes.subarray(doc.end(list) - 1),
      ])
    },
  }
}

const COMMA = Buffer.from(',')

function nameOf(doc: JsonDocument, element: number): string {
  for (const name of NAMES) {
    const node = doc.given(element, name)
    if (node !== -1 && doc.kind(node) === KIND.STRING) return doc.copy(node)
  }
  return ''
}
