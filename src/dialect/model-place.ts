import type { Splice } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import { readJson } from './json.ts'

/**
 * The splice that puts `model` in place of the body's own; null where the body names none at its top. The
 * body has been inspected, so that there is one `model` at most. Yields while it reads a long body.
 */
export function* placeOfModel(
  bytes: Buffer,
  model: string,
  jsonDepth: number,
): Generator<void, Splice | null> {
  const doc = yield* readJson(bytes, jsonDepth)
  const node = doc.given(0, 'model')
  if (node === -1 || doc.kind(node) !== KIND.STRING) return null
  return { start: doc.start(node), end: doc.end(node), text: JSON.stringify(model) }
}
