import type { Field, Fields, Shape } from './spec.ts'

/** What to say of a key at the wrong place. */

/** What to say of a key that a map does not have, beside that; null where nothing is known. */
export function keyHint(key: string, fields: Fields): string | null {
  if (key.includes(':')) return 'a space is missing after its colon'
  if (key === 'apiVersion') return 'a Kubernetes object? Put the configuration in its `data`'
  if (key === 'unless' || key === 'except') {
    return 'say it in an expression, or see `exceptions` for what was approved until a date'
  }
  const inside = Object.keys(fields).filter((name) => holds(fields[name], key))
  if (inside.length > 0) return `it belongs in ${oneOf(inside)}, indented further`
  const isCondition = key === 'if' && Object.keys(fields).includes('for')
  return isCondition ? 'an expression belongs in `for`, as `when`' : null
}

function oneOf(names: readonly string[]): string {
  const shown = names.map((name) => `\`${name}\``)
  const last = shown.pop() ?? ''
  return shown.length === 0 ? last : `${shown.join(', ')} or ${last}`
}

function holds(field: Field<unknown> | undefined, key: string): boolean {
  const shape: Shape | undefined = field?.spec.shape
  if (shape?.kind !== 'map') return false
  const inner = Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined
  return inner !== undefined && inner.spec.shape.kind !== 'later'
}
