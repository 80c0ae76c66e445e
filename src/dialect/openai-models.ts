/** Every member of a request that selects a model (threats: nested tools, items, fallbacks). */
import { foldKey } from './json-fold.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { fieldInvalid, modelInvalid, readModel } from './openai-fields.ts'

/** No call needs more; each one costs every policy a comparison. */
export const MODELS_MAX = 64

/** Members below which a member `model` selects a model. */
const LEADS_TO_MODEL = new Set(['tools', 'input', 'moderation'])

/**
 * Models named anywhere: `/model` first, then `/models/*` (fallbacks of OpenAI-compatible routers)
 * and every `model` whose ancestors are only tools, input, moderation and arrays; without repeats.
 * Throws MODEL_INVALID and FIELD_INVALID.
 */
export function readModels(doc: JsonDocument): string[] {
  const found = new Set<string>()
  const own = doc.member(0, 'model')
  if (own !== -1) found.add(readModel(doc, own))
  for (const value of doc.children(0)) {
    const name = foldKey(doc.text(value - 1))
    if (name === 'models') readFallbacks(doc, value, found)
    else if (LEADS_TO_MODEL.has(name)) readBelow(doc, value, found)
  }
  return [...found]
}

function readFallbacks(doc: JsonDocument, node: number, found: Set<string>): void {
  if (doc.kind(node) === KIND.NULL) return
  if (doc.kind(node) !== KIND.ARRAY) throw fieldInvalid(doc, node, 'must be an array of models')
  for (const element of doc.children(node)) add(doc, element, found)
}

function readBelow(doc: JsonDocument, node: number, found: Set<string>): void {
  const kind = doc.kind(node)
  if (kind !== KIND.ARRAY && kind !== KIND.OBJECT) return
  const end = doc.next(node)
  if (kind === KIND.ARRAY) {
    for (let at = node + 1; at < end; at = doc.next(at)) readBelow(doc, at, found)
    return
  }
  for (let key = node + 1; key < end; key = doc.next(key + 1)) {
    const name = foldKey(doc.text(key))
    if (LEADS_TO_MODEL.has(name)) readBelow(doc, key + 1, found)
    if (name !== 'model') continue
    if (!doc.isKey(key, 'model')) throw fieldInvalid(doc, key, 'must be spelled model')
    add(doc, key + 1, found)
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
