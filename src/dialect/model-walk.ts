/** Every model a body names, for APIs whose bodies hold JSON of the caller's own beside their fields. */
import { foldKey } from './json-fold.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { fieldInvalid, modelInvalid, readModel } from './openai-fields.ts'
import { MODELS_MAX } from './openai-models.ts'

/** Members in which `model` is a word of the caller's: schemas, arguments of tools, labels. */
const FREE: ReadonlySet<string> = new Set([
  'args',
  'arguments',
  'input_schema',
  'labels',
  'metadata',
  'parameters',
  'parametersjsonschema',
  'response',
  'responsejsonschema',
  'responseschema',
  'schema',
])

/**
 * Models of `model`, `models` and `fallbacks` anywhere but in such members, `/model` first, without
 * repeats; below the top `input` is one of them, too. Throws MODEL_INVALID and FIELD_INVALID.
 */
export function walkModels(doc: JsonDocument): string[] {
  const found = new Set<string>()
  const own = doc.given(0, 'model')
  if (own !== -1) found.add(readModel(doc, own))
  for (let node = 1; node < doc.count;) {
    if (doc.kind(node) !== KIND.KEY) {
      node++
      continue
    }
    const name = foldKey(doc.word(node)).replaceAll('_', '')
    const isFree = FREE.has(name) || FREE.has(foldKey(doc.word(node)))
    if (isFree || (name === 'input' && doc.parent(node) !== 0)) {
      node = doc.next(node + 1)
      continue
    }
    readMember(doc, node, name, found)
    node++
  }
  return [...found]
}

function readMember(doc: JsonDocument, key: number, name: string, found: Set<string>): void {
  const value = key + 1
  const kind = doc.kind(value)
  if (kind === KIND.NULL || kind === KIND.OBJECT) return
  if (name === 'model') {
    if (!doc.isKey(key, 'model')) throw fieldInvalid(doc, key, 'must be spelled model')
    add(doc, value, found)
  } else if (name === 'models' || name === 'fallbacks') {
    if (kind !== KIND.ARRAY) throw fieldInvalid(doc, value, 'must be an array of models')
    for (const each of doc.children(value)) {
      if (doc.kind(each) !== KIND.OBJECT) add(doc, each, found)
    }
  }
}

function add(doc: JsonDocument, node: number, found: Set<string>): void {
  found.add(readModel(doc, node))
  if (found.size <= MODELS_MAX) return
  const rule = `is one model too many; a call names at most ${MODELS_MAX}`
  throw modelInvalid(doc.pointer(node), rule)
}
