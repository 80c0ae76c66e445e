/**
 * The part of JSON Schema 2020-12 that the admin API is described in, and its check: the same tables
 * make the OpenAPI file and judge what comes in. Closed, so that a keyword that is not checked cannot
 * be written.
 */

/** A schema of this API. `format` is said, not checked; `pattern` is of ours and matched in linear time. */
export interface Schema {
  readonly type: 'string' | 'integer' | 'boolean' | 'object' | 'array' | 'null'
  readonly description?: string
  readonly format?: 'date-time' | 'uuid'
  readonly enum?: readonly string[]
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly items?: AnySchema
  readonly maxItems?: number
  readonly properties?: Readonly<Record<string, AnySchema>>
  readonly required?: readonly string[]
  /** False where only the named ones may be there. */
  readonly additionalProperties?: false | AnySchema
  readonly maxProperties?: number
  /** Of names that `properties` does not have. */
  readonly propertyNames?: { readonly pattern: string }
}

/** One schema, or several of which a value has to fit one. */
export type AnySchema =
  | Schema
  | { readonly anyOf: readonly Schema[]; readonly description?: string }

/** What is wrong with a value and where, as a JSON pointer (RFC 6901). */
export interface Violation {
  readonly pointer: string
  readonly expected: string
}

/** The first thing in `value` that is not as `schema` says; null when there is none. */
export function violation(schema: AnySchema, value: unknown, pointer = ''): Violation | null {
  if ('anyOf' in schema) return anyViolation(schema.anyOf, value, pointer)
  const wrong = (expected: string): Violation => ({ pointer, expected })
  if (!isOf(schema.type, value)) return wrong(article(schema.type))
  if (typeof value === 'string') return textViolation(schema, value, wrong)
  if (typeof value === 'number') return numberViolation(schema, value, wrong)
  if (Array.isArray(value)) return listViolation(schema, value, pointer)
  if (typeof value !== 'object' || value === null) return null
  return mapViolation(schema, value as Readonly<Record<string, unknown>>, pointer)
}

function anyViolation(
  schemas: readonly Schema[],
  value: unknown,
  pointer: string,
): Violation | null {
  const found = schemas.map((each) => violation(each, value, pointer))
  return found.includes(null) ? null : (found[0] ?? null)
}

type Wrong = (expected: string) => Violation

function textViolation(schema: Schema, value: string, wrong: Wrong): Violation | null {
  const { minLength = 0, maxLength = Infinity, pattern } = schema
  if (schema.enum !== undefined && !schema.enum.includes(value)) {
    return wrong(`one of ${schema.enum.join(', ')}`)
  }
  if (value.length < minLength || value.length > maxLength) {
    return wrong(`${minLength} to ${maxLength} characters`)
  }
  if (pattern !== undefined && !new RegExp(pattern, 'u').test(value)) {
    return wrong(schema.description ?? `what matches ${pattern}`)
  }
  return null
}

function numberViolation(schema: Schema, value: number, wrong: Wrong): Violation | null {
  const { minimum = -Infinity, maximum = Infinity } = schema
  return value < minimum || value > maximum ? wrong(`${minimum} to ${maximum}`) : null
}

function listViolation(
  { items, maxItems = Infinity }: Schema,
  value: readonly unknown[],
  pointer: string,
): Violation | null {
  if (value.length > maxItems) return { pointer, expected: `at most ${maxItems} items` }
  if (items === undefined) return null
  for (const [index, item] of value.entries()) {
    const found = violation(items, item, `${pointer}/${index}`)
    if (found !== null) return found
  }
  return null
}

function mapViolation(
  schema: Schema,
  value: Readonly<Record<string, unknown>>,
  pointer: string,
): Violation | null {
  const { properties = {}, required = [] } = schema
  const names = Object.keys(value)
  const missing = required.find((name) => !Object.hasOwn(value, name))
  if (missing !== undefined) return { pointer: at(pointer, missing), expected: 'it to be there' }
  const { maxProperties = Infinity } = schema
  if (names.length > maxProperties) return { pointer, expected: `at most ${maxProperties} members` }
  for (const name of names) {
    const here = at(pointer, name)
    const found = Object.hasOwn(properties, name)
      ? violation(properties[name]!, value[name], here)
      : unnamedViolation(schema, [name, value[name]], here)
    if (found !== null) return found
  }
  return null
}

/** Of a member that `properties` does not have. */
function unnamedViolation(
  { properties = {}, additionalProperties, propertyNames }: Schema,
  [name, value]: readonly [string, unknown],
  pointer: string,
): Violation | null {
  if (additionalProperties === false) {
    return { pointer, expected: `only ${Object.keys(properties).join(', ')}` }
  }
  if (propertyNames !== undefined && !new RegExp(propertyNames.pattern).test(name)) {
    return { pointer, expected: `names that match ${propertyNames.pattern}` }
  }
  return additionalProperties === undefined ? null : violation(additionalProperties, value, pointer)
}

const NAME_CHARS_MAX = 64

function at(pointer: string, name: string): string {
  const short = name.slice(0, NAME_CHARS_MAX)
  return `${pointer}/${short.replaceAll('~', '~0').replaceAll('/', '~1')}`
}

function isOf(type: Schema['type'], value: unknown): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'integer') return Number.isSafeInteger(value)
  if (type !== 'object') return typeof value === type
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function article(type: Schema['type']): string {
  if (type === 'null') return 'null'
  return type === 'string' ? 'a text' : `${/^[aio]/.test(type) ? 'an' : 'a'} ${type}`
}
