import { isAlias, isMap, isScalar, isSeq, type Scalar, type YAMLMap, type YAMLSeq } from 'yaml'

import { keyHint } from './hints.ts'
import { suggestion, type Path } from './problem.ts'
import { NOT_BUILT, Report } from './report.ts'
import { ScalarReader, type ReadOptions } from './scalar.ts'
import { quote, scalarText, Source } from './source.ts'
import type { Field, Fields, Name, Shape, Spec } from './spec.ts'

/**
 * Walks the tree along the table and collects what is wrong. Where something is, it puts a placeholder
 * of the right type, so that later checks can go on; `clean()` tells them where not to look.
 */
export class Reader {
  readonly #report: Report
  readonly #scalars: ScalarReader

  constructor(report: Report, options: ReadOptions) {
    this.#report = report
    this.#scalars = new ScalarReader(report, options)
  }

  /** The whole file by its table. */
  read<Value>(spec: Spec<Value>): Value {
    return (this.#value(this.#report.source.root, spec.shape, []) ??
      placeholder(spec.shape)) as Value
  }

  /** Undefined when there is no usable value, which is then reported. */
  #value(node: unknown, shape: Shape, path: Path): unknown {
    if (isAlias(node) || (node as { tag?: string } | null)?.tag !== undefined) return undefined
    if (shape.kind === 'map') return this.#map(node, shape, path)
    if (shape.kind === 'record') return this.#record(node, shape, path)
    if (shape.kind === 'list') return this.#list(node, shape, path)
    if (shape.kind === 'names') return this.#names(node, shape, path)
    if (shape.kind === 'texts') return this.#texts(node, shape, path)
    if (shape.kind === 'boolean') return this.#scalars.boolean(node, path)
    if (shape.kind === 'integer') return this.#scalars.integer(node, shape, path)
    return this.#scalars.text(node, shape, path)
  }

  #map(node: unknown, shape: Shape & { kind: 'map' }, path: Path): unknown {
    if (shape.orText !== undefined && isScalar(node) && typeof node.value === 'string') {
      return this.#scalars.text(node, { kind: 'expression', ...shape.orText }, path)
    }
    if (shape.orValue !== undefined && isScalar(node) && node.value !== null) {
      return this.#value(node, shape.orValue, path)
    }
    const what = expected(shape)
    if (!isMap(node)) return this.#report.unexpected(node, path, what)
    const given = this.#members(node, path)
    for (const [key, field] of Object.entries(shape.fields)) {
      if (!given.has(key) && field.presence === 'required') {
        this.#report.at(node, [...path, key], `Key ${quote(key)} is missing`)
      }
    }
    const values = [...given].map(([key, member]): [string, unknown] => [
      key,
      this.#member(shape.fields, member, [...path, key]),
    ])
    return complete(Object.fromEntries(values), shape.fields)
  }

  #member(
    fields: Fields,
    { keyNode, value }: { readonly keyNode: Scalar; readonly value: unknown },
    path: Path,
  ): unknown {
    const key = String(path.at(-1))
    const field = Object.hasOwn(fields, key) ? fields[key] : undefined
    if (field === undefined) {
      const known = Object.keys(fields).filter((name) => !isLater(fields[name]))
      const hint = keyHint(key, fields)
      const rest = hint === null ? suggestion(key, known) : `: ${hint}`
      return this.#report.at(keyNode, path, `Unknown key${rest}`)
    }
    return isLater(field)
      ? this.#report.at(keyNode, path, `Key ${quote(key)} ${NOT_BUILT}`)
      : this.#value(value, field.spec.shape, path)
  }

  #record(node: unknown, shape: Shape & { kind: 'record' }, path: Path): unknown {
    if (!isMap(node)) return this.#report.unexpected(node, path, 'names and values')
    const members = this.#members(node, path)
    if (members.size > shape.max) {
      this.#report.at(node, path, `${members.size} entries are too many: at most ${shape.max}`)
    }
    const values: [string, unknown][] = []
    for (const [key, { keyNode, value }] of members) {
      const inner = [...path, key]
      if (!shape.key.test(key)) {
        this.#report.at(keyNode, inner, `Name ${quote(key)} is not accepted`)
      }
      const read = this.#value(value, shape.value.shape, inner)
      values.push([key, read ?? placeholder(shape.value.shape)])
    }
    return Object.fromEntries(values)
  }

  #list(node: unknown, shape: Shape & { kind: 'list' }, path: Path): unknown {
    if (!isSeq(node)) {
      const isOfMaps = shape.item.shape.kind === 'map'
      const what = isOfMaps ? 'a list, each item after a "- "' : 'a list, like [a, b]'
      return this.#report.unexpected(node, path, what)
    }
    if (!this.#fits(node, shape, path)) return undefined
    return node.items.map((item, index) => {
      const value = this.#value(item, shape.item.shape, [...path, index])
      return value ?? placeholder(shape.item.shape)
    })
  }

  #texts(node: unknown, shape: Shape & { kind: 'texts' }, path: Path): unknown {
    const { what, max, charsMax } = shape
    const item: Shape = { kind: 'text', what, pattern: /^/, charsMax }
    if (!isSeq(node)) {
      const value = this.#value(node, item, path)
      return value === undefined ? undefined : [value]
    }
    return this.#list(node, { kind: 'list', item: { shape: item }, min: 0, max }, path)
  }

  #fits(
    node: YAMLSeq,
    { min, max }: { readonly min: number; readonly max: number },
    path: Path,
  ): boolean {
    const count = node.items.length
    if (count < min) {
      this.#report.at(node, path, 'The list is empty: give it an item or remove the key')
    } else if (count > max) {
      this.#report.at(node, path, `${count} items are too many: at most ${max}`)
    }
    return count >= min && count <= max
  }

  #names(node: unknown, shape: Shape & { kind: 'names' }, path: Path): unknown {
    if (isScalar(node) && typeof node.value === 'string') {
      const name = this.#name(node, path)
      if (name === undefined || 'set' in name) return name && [name]
    }
    if (!isSeq(node)) {
      const like =
        isScalar(node) && /^[\w.*-]{1,40}$/.test(String(node.value))
          ? `, like [${String(node.value)}]`
          : ''
      const what = `a list of ${shape.what}${like}, or a $set`
      return this.#report.unexpected(node, path, what)
    }
    if (!this.#fits(node, { min: 1, max: shape.max }, path)) return undefined
    return node.items.map((each, index) => {
      const inner = [...path, index]
      if (isAlias(each) || (each as { tag?: string } | null)?.tag) return { text: '' }
      return this.#name(each, inner) ?? { text: '' }
    })
  }

  /** A `$set` is only what the file itself says; a substituted `$x` is a name. */
  #name(node: unknown, path: Path): Name | undefined {
    const raw = isScalar(node) ? node.value : null
    if (typeof raw === 'string' && /^\$[^{$]/.test(raw)) return { set: raw.slice(1) }
    const text: Shape = { kind: 'text', what: 'a name', pattern: /\S/, charsMax: 256 }
    const value = this.#scalars.text(node, text, path)
    return typeof value === 'string' ? { text: value } : undefined
  }

  #members(node: YAMLMap, path: Path) {
    const members = new Map<string, { keyNode: Scalar; value: unknown }>()
    for (const { key, value } of node.items) {
      if (!isScalar(key) || typeof key.value !== 'string') {
        const shown = isScalar(key) ? ` ${quote(scalarText(key))}` : ''
        this.#report.at(key, path, `The key${shown} is not a name: quote it`)
      } else if (members.has(key.value)) {
        this.#report.at(key, [...path, key.value], 'Duplicate key: remove one')
      } else if (key.value !== '<<') members.set(key.value, { keyNode: key, value })
    }
    return members
  }
}

/** What a map is, where something else was found. */
function expected({ name, orText, orValue, fields }: Shape & { kind: 'map' }): string {
  if (orText !== undefined) return `selectors or ${orText.what}`
  if (name === 'input') return 'what to look for, like { detect: [email] }'
  if (name === 'policy selectors') {
    return 'selectors, like { models: [gpt-4o] } or { when: "an expression" }; {} is every call'
  }
  if (name === 'selectors') return 'selectors, like { roles: [developer] }'
  if (orValue === undefined) return 'keys and values'
  return `a value or a map of ${Object.keys(fields).join(', ')}`
}

/** The value of every field: as read, its default, null, or a placeholder where a problem is. */
function complete(values: Readonly<Record<string, unknown>>, fields: Fields): unknown {
  return Object.fromEntries(
    Object.entries(fields).map(([key, field]) => [key, values[key] ?? fallback(field)]),
  )
}

/** What a field is when the file does not say. */
export function fallback(field: Field<unknown>): unknown {
  if (field.presence === 'optional') return null
  if (field.presence === 'required') return placeholder(field.spec.shape)
  const source = new Source('default', field.presence.written)
  return new Reader(new Report(source), { env: {}, forRun: true }).read(field.spec)
}

/** A value of the right type for what could not be read. */
function placeholder(shape: Shape): unknown {
  if (shape.kind === 'map') return complete({}, shape.fields)
  if (shape.kind === 'choice') return shape.values[0]
  if (shape.kind === 'integer' || shape.kind === 'number') return shape.min
  return PLACEHOLDERS[shape.kind]
}

const PLACEHOLDERS = {
  record: {},
  list: [],
  names: [],
  texts: [],
  boolean: false,
  text: '',
  expression: '',
  fraction: 1,
  duration: 0,
  size: 0,
  rate: { count: 1, windowMs: 1000, calendar: null },
  cost: { count: 1, windowMs: 1000, calendar: null },
  price: 0,
  address: { host: '127.0.0.1', port: 0 },
  secret: null,
  later: null,
} as const

function isLater(field: Field<unknown> | undefined): boolean {
  return field?.spec.shape.kind === 'later'
}
