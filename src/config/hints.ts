import { nearest } from './problem.ts'
import type { Field, Fields, Shape } from './spec.ts'

/** What to say of a key at the wrong place. */

/** What to say of a key that a map does not have, beside that; null where nothing is known. */
export function keyHint(key: string, fields: Fields): string | null {
  if (key.includes(':')) return 'a space is missing after its colon'
  if (key === 'apiVersion') return 'a Kubernetes object? Put the configuration in its `data`'
  if (key === 'unless' || key === 'except') {
    return 'say it in an expression, or see `exceptions` for what was approved until a date'
  }
  if (nearest(key, Object.keys(fields)) !== null) return null
  const inside = Object.keys(fields).find((name) => holds(fields[name], key))
  return inside === undefined ? null : `it belongs in \`${inside}\``
}

function holds(field: Field<unknown> | undefined, key: string): boolean {
  const shape: Shape | undefined = field?.spec.shape
  if (shape?.kind !== 'map') return false
  const inner = Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined
  return inner !== undefined && inner.spec.shape.kind !== 'later'
}
