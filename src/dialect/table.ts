/** A dialect's table of endpoints: which method and path mean what, and nothing else. */
import type { Endpoint, Lookup } from '../exchange.ts'

/** One line of the table. */
export interface Row {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Literal but for `{id}`, a plain identifier, and `{model}`, the one model a path names. */
  readonly path: string
  readonly endpoint: Endpoint
  /** The path an upstream knows, where clients are let off a prefix; absent where it is `path`. */
  readonly sentAs?: string
}

/** A compiled table. */
export interface Table {
  readonly rows: readonly Row[]
  /** What a raw path without query means; null where no row is about it. */
  find(method: string, path: string): Lookup | null
  /** Whether a row has exactly this path. */
  has(path: string): boolean
}

/** Identifiers that providers give out; anything else could be read as another path. */
const ID = '([A-Za-z0-9][A-Za-z0-9_-]{0,255})'
const MODEL = '([^/]+)'

interface Template {
  readonly prefix: string
  readonly pattern: RegExp
  /** What its groups hold. */
  readonly places: readonly string[]
  readonly rows: Row[]
}

/**
 * Compiles a table. Paths are compared byte by byte: a spelling that only some server would
 * normalise to a known path is not known. A literal path goes before one with `{id}` in it.
 */
export function compileTable(rows: readonly Row[]): Table {
  const literal = new Map<string, Row[]>()
  const templates = new Map<string, Template>()
  for (const row of rows) {
    const { path } = row
    if (!path.includes('{')) {
      literal.set(path, [...(literal.get(path) ?? []), row])
      continue
    }
    const known = templates.get(path) ?? template(path)
    known.rows.push(row)
    templates.set(path, known)
  }
  const patterns = [...templates.values()]
  return {
    rows,
    has: (path) => literal.has(path),
    find: (method, path) => {
      const exact = literal.get(path)
      if (exact !== undefined) return pick(exact, method, NOTHING_NAMED)
      for (const { prefix, pattern, places, rows: same } of patterns) {
        if (!path.startsWith(prefix)) continue
        const found = pattern.exec(path)
        if (found !== null) return pick(same, method, named(found, places))
      }
      return null
    },
  }
}

function template(path: string): Template {
  const source = path
    .split(/(\{id\}|\{model\})/)
    .map((part) => (part === '{id}' ? ID : part === '{model}' ? MODEL : escaped(part)))
    .join('')
  const prefix = path.slice(0, path.indexOf('{'))
  const places = path.match(/\{id\}|\{model\}/g) ?? []
  return { prefix, pattern: new RegExp(`^${source}$`), places, rows: [] }
}

function escaped(literal: string): string {
  return literal.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}

interface Named {
  readonly model: string | null
  readonly ids: readonly string[]
}

const NOTHING_NAMED: Named = { model: null, ids: [] }

function named(found: RegExpExecArray, places: readonly string[]): Named {
  const all = found.slice(1)
  const model = all[places.indexOf('{model}')] ?? null
  return { model, ids: all.filter((_, index) => places[index] === '{id}') }
}

function pick(rows: readonly Row[], method: string, { model, ids }: Named): Lookup {
  const row = rows.find((each) => each.method === method)
  if (row === undefined) return { kind: 'method', allow: rows.map((each) => each.method) }
  const { endpoint, sentAs } = row
  const pathModel = model === null ? null : decodeModel(model)
  const more = ids.length === 0 ? {} : { ids }
  if (sentAs === undefined) return { kind: 'endpoint', endpoint, pathModel, ...more }
  return { kind: 'endpoint', endpoint, pathModel, sentAs, ...more }
}

/** Only `:` and `@` may be percent-encoded; any other `%` stays and no model name allows it. */
function decodeModel(segment: string): string {
  return segment.includes('%') ? segment.replaceAll(/%3a/gi, ':').replaceAll('%40', '@') : segment
}
