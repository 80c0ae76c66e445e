/** Every member of a request that selects a model, wherever it is. */
import { foldKey } from './json-fold.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { fieldInvalid, modelInvalid, readModel } from './openai-fields.ts'

/** No call needs more; each one costs every policy a comparison. */
export const MODELS_MAX = 64

/** Sizes of the names below; others need not be looked at. */
const SIZES = new Set([5, 6, 7, 8, 9, 10, 11, 12, 13, 15])
/** Other names that servers of this API have for `model`, at the top of a body. */
const OTHER_NAMES = new Set([
  'deployment',
  'deployment_id',
  'engine',
  'model_id',
  'model_name',
  'modelid',
  'modelname',
])
const FALLBACKS = new Set(['models', 'fallbacks', 'fallback_models'])
/** Members that hold a JSON schema, whose `model` is a property's name. */
const SCHEMAS = new Set(['parameters', 'schema', 'json_schema', 'input_schema', 'output_schema'])
/** Where schemas are. */
const SCHEMA_ROOTS = new Set(['tools', 'functions', 'response_format', 'text', 'input', 'messages'])

/**
 * Models named anywhere outside `/metadata` and JSON schemas: `/model` first, then every `model` and
 * all in `models` and `fallbacks` (routers of many providers), what else servers call a model at the
 * top, without repeats. Throws MODEL_INVALID
 * and FIELD_INVALID.
 */
export function readModels(doc: JsonDocument): string[] {
  const found = new Set<string>()
  const own = doc.member(0, 'model')
  if (own !== -1) found.add(readModel(doc, own))
  for (let node = 1; node < doc.count;) {
    const isKey = doc.kind(node) === KIND.KEY && node !== own - 1
    node = isKey && mayName(doc, node) ? readMember(doc, node, found) : node + 1
  }
  return [...found]
}

function mayName(doc: JsonDocument, key: number): boolean {
  return !doc.isPlain(key) || SIZES.has(doc.end(key) - doc.start(key) - 2)
}

/** Looks at one member; returns the node to go on with. */
function readMember(doc: JsonDocument, key: number, found: Set<string>): number {
  const name = foldKey(doc.word(key))
  const value = key + 1
  if (name === 'metadata' && doc.parent(key) === 0) return doc.next(value)
  if (SCHEMAS.has(name) && SCHEMA_ROOTS.has(rootName(doc, key))) return doc.next(value)
  if (name === 'model') {
    if (!doc.isKey(key, 'model')) throw fieldInvalid(doc, key, 'must be spelled model')
    const kind = doc.kind(value)
    const isNone = kind === KIND.NULL || kind === KIND.OBJECT || kind === KIND.ARRAY
    if (!isNone) add(doc, value, found)
  } else readOther(doc, key, name, found)
  return value
}

function readOther(doc: JsonDocument, key: number, name: string, found: Set<string>): void {
  if (FALLBACKS.has(name)) readList(doc, key + 1, found)
  else if (OTHER_NAMES.has(name) && doc.parent(key) === 0 && doc.kind(key + 1) !== KIND.NULL) {
    add(doc, key + 1, found)
  }
}

function rootName(doc: JsonDocument, key: number): string {
  let at = key
  for (let up = doc.parent(at); up > 0; up = doc.parent(at)) at = up
  return doc.kind(at) === KIND.KEY ? doc.word(at) : doc.word(at - 1)
}

/** Strings of a list; of its objects, their members are looked at when the walk comes to them. */
function readList(doc: JsonDocument, list: number, found: Set<string>): void {
  const kind = doc.kind(list)
  if (kind === KIND.NULL || kind === KIND.OBJECT) return
  if (kind === KIND.STRING && doc.parent(list) !== 0) return add(doc, list, found)
  if (kind !== KIND.ARRAY) throw fieldInvalid(doc, list, 'must be an array of models')
  const end = doc.next(list)
  for (let at = list + 1; at < end; at = doc.next(at)) {
    if (doc.kind(at) !== KIND.OBJECT) add(doc, at, found)
  }
}

function add(doc: JsonDocument, node: number, found: Set<string>): void {
  found.add(readModel(doc, node))
  if (found.size > MODELS_MAX) {
    throw modelInvalid(
      doc.pointer(node),
      `is one model too many; a call names at most ${MODELS_MAX}`,
    )
  }
}
