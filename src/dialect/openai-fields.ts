/** Strict types of the fields Governor decides by, so that no upstream reads them otherwise. */
import { GovernorError } from '../errors.ts'
import { foldKey } from './json-fold.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'

const MODEL = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}$/

const POINTER_CHARS_SHOWN_MAX = 256

/** A segment that a router may drop or walk up by, so that another model is reached than was named. */
const HOLLOW_SEGMENT = /(?:^|\/)\.{0,2}(?:\/|$)/

/** Refuses the value at `node`; `rule` reads on from its pointer, like `must be a string`. */
export function fieldInvalid(doc: JsonDocument, node: number, rule: string): GovernorError {
  const pointer = doc.pointer(node).slice(0, POINTER_CHARS_SHOWN_MAX)
  // The whole document's pointer is empty (RFC 6901).
  const where = pointer === '' ? 'the body' : pointer
  return new GovernorError('FIELD_INVALID', { detail: `${where} ${rule}`, param: pointer })
}

/** Names without anything that would have to be looked at twice. */
const KNOWN_MODEL = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,255}$/
/** Calls name the same model again and again; a name that is kept must not keep the whole request. */
let lastModel = ''

/** A model name as sent. Throws MODEL_INVALID for anything but a plain name. */
export function readModel(doc: JsonDocument, node: number): string {
  if (doc.kind(node) === KIND.STRING) {
    const known = doc.word(node)
    if (KNOWN_MODEL.test(known))
      return known === lastModel ? lastModel : (lastModel = doc.copy(node))
  }
  const pointer = doc.pointer(node).slice(0, POINTER_CHARS_SHOWN_MAX)
  if (doc.kind(node) !== KIND.STRING) throw modelInvalid(pointer, 'must be a string')
  return checkModel(doc.word(node) === '' ? '' : doc.copy(node), pointer)
}

/** `model` when it is a plain name; throws MODEL_INVALID naming `pointer` otherwise. */
export function checkModel(model: string, pointer: string): string {
  if (!MODEL.test(model)) {
    throw modelInvalid(
      pointer,
      'must begin with a letter or digit and go on with at most 255 of letters, digits and ._:/@-',
    )
  }
  if (!model.includes('/') || !HOLLOW_SEGMENT.test(model)) return model
  throw modelInvalid(pointer, 'must have no empty, "." or ".." between its slashes')
}

/** Refuses a model selector. */
export function modelInvalid(pointer: string, rule: string): GovernorError {
  return new GovernorError('MODEL_INVALID', { detail: `${pointer} ${rule}`, param: pointer })
}

/** A boolean member; false when absent or null. */
export function readBoolean(doc: JsonDocument, object: number, name: string): boolean {
  const node = doc.given(object, name)
  if (node === -1 || doc.kind(node) === KIND.FALSE) return false
  if (doc.kind(node) === KIND.TRUE) return true
  throw fieldInvalid(doc, node, 'must be true, false or null')
}

/** An integer member of at least `minimum`; null when absent or null. */
export function readInteger(
  doc: JsonDocument,
  object: number,
  name: string,
  minimum: number,
): number | null {
  const node = doc.given(object, name)
  if (node === -1) return null
  const value = doc.integer(node)
  if (value !== null && value >= minimum) return value
  throw fieldInvalid(doc, node, `must be an integer of at least ${minimum}, or null`)
}

/** A member of one kind; -1 when absent or null. */
export function readKind(
  doc: JsonDocument,
  object: number,
  name: string,
  kind: 'ARRAY' | 'OBJECT' | 'STRING',
): number {
  const node = doc.given(object, name)
  if (node === -1 || doc.kind(node) === KIND[kind]) return node
  const words = { ARRAY: 'an array', OBJECT: 'an object', STRING: 'a string' }
  throw fieldInvalid(doc, node, `must be ${words[kind]} or null`)
}

/**
 * Refuses a key of `object` that is one of `known` but for its case (by simple folding): Go servers
 * would read it as that field.
 */
export function checkSpelling(doc: JsonDocument, object: number, known: ReadonlySet<string>): void {
  const end = doc.next(object)
  for (let key = object + 1; key < end; key = doc.next(key + 1)) {
    const name = doc.text(key)
    if (!known.has(name)) checkFolded(doc, key, known)
  }
}

/** The same of one key that is not among `known`. */
export function checkFolded(doc: JsonDocument, key: number, known: ReadonlySet<string>): string {
  const folded = foldKey(doc.text(key))
  if (known.has(folded)) throw fieldInvalid(doc, key, `must be spelled ${folded}`)
  return folded
}
