import type { Schema } from './schema.ts'

/** Parts that the tables of the admin API share. */

/** A name that a key or a tenant can have. */
export const NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$'
const UUID = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'

/** A tenant. */
export const TENANT: Schema = {
  type: 'string',
  pattern: NAME_PATTERN,
  description:
    'a tenant; a key without the role `fleet` has its own, which is also what absent means for it',
}
/** Id of a key. */
export const KEY_ID: Schema = {
  type: 'string',
  format: 'uuid',
  pattern: UUID,
  description: 'the part of a key before the dot',
}
/** Id of a call. */
export const REQUEST_ID: Schema = {
  type: 'string',
  format: 'uuid',
  pattern: UUID,
  description: 'as in x-governor-request-id',
}
/** A moment. */
export const TIME: Schema = { type: 'string', format: 'date-time' }
/** A digest of a configuration. */
export const DIGEST: Schema = { type: 'string', pattern: '^[0-9a-f]{64}$' }

/** Any text. */
export const TEXT: Schema = { type: 'string' }
/** A whole number from 0. */
export const COUNT: Schema = { type: 'integer', minimum: 0 }

/** An object that has all of `properties` and nothing else, but for what `optional` names. */
export function closed(
  properties: NonNullable<Schema['properties']>,
  optional: readonly string[] = [],
): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name))
  return { type: 'object', properties, required, additionalProperties: false }
}

/** A list. */
export function listOf(items: NonNullable<Schema['items']>, maxItems?: number): Schema {
  return { type: 'array', items, ...(maxItems !== undefined && { maxItems }) }
}

/** The value or null. */
export function orNull(schema: Schema): { readonly anyOf: readonly Schema[] } {
  return { anyOf: [schema, { type: 'null' }] }
}
