import {
  type Document,
  isMap,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLSeq,
} from 'yaml'

import { keyOf } from './key-file-row.ts'
import type { KeyRecord } from './key.ts'

/** Keys as a file of YAML: one list, `keys`, best with one key a line as JSON, which YAML reads too. */

/** A key of the file and where it stands, in UTF-16 units. */
export interface FileEntry {
  readonly record: KeyRecord
  readonly start: number
  readonly end: number
}

/** What a file says. */
export interface KeysFile {
  readonly entries: readonly FileEntry[]
  /** What stands before the `-` of a key; null where there is no list with one key a line. */
  readonly indent: string | null
}

/** What is wrong with a file, each problem with line and column. */
export class KeysFileError extends Error {
  override readonly name = 'KeysFileError'
}

/** What a person may have written takes a parser that is not made for millions of lines. */
const YAML_UNITS_MAX = 2 ** 20
const LINES_PER_STEP = 500
const PROBLEMS_MAX = 10

const ROW = /^( *)- (\{.*\}) *\r?$/
/** Comments, and the name of the list. */
const HEAD = /^(?: *(?:#.*)?\r?\n)*keys: *(?:#.*)?\r?(?:\n|$)/
const NO_ROW = /^ *(?:#.*)?\r?$/

/**
 * Reads a file of keys, in steps. Throws KeysFileError with every problem, at most ten. Lines as they are
 * written here are read as JSON, 100,000 in about a second; everything else by a YAML parser, up to 1 MiB.
 */
export function* readKeysFile(text: string): Generator<void, KeysFile> {
  const rows = yield* readRows(text)
  return rows ?? readYaml(text)
}

/**
 * Null where a line is another one than those that are written here. Without the name of the list it may be
 * one that is being written: an editor that cuts it short first takes no key away.
 */
function* readRows(text: string): Generator<void, KeysFile | null> {
  const head = HEAD.exec(text)
  if (head === null) return null
  const reader = new RowReader()
  let indent: string | null = null
  for (const { written, line, start } of linesOf(text, head[0])) {
    const [, before, json = ''] = ROW.exec(written) ?? []
    if (before !== undefined) {
      indent ??= before
      const value = before === indent ? parsed(json) : undefined
      if (value === undefined) return null
      const at = start + before.length + 2
      reader.add(value, { line, column: before.length + 3 }, [at, at + json.length])
    } else if (!NO_ROW.test(written)) return null
    if (line % LINES_PER_STEP === 0) yield
  }
  return { entries: reader.done(), indent }
}

/** Those after `head`. */
function* linesOf(text: string, head: string) {
  let start = head.length
  for (let line = head.split('\n').length; start <= text.length; line++) {
    const newline = text.indexOf('\n', start)
    const end = newline < 0 ? text.length : newline
    yield { written: text.slice(start, end), line, start }
    start = end + 1
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

function readYaml(text: string): KeysFile {
  if (text.length > YAML_UNITS_MAX) {
    const how = 'write one key a line, as `keys create` does'
    throw new KeysFileError(`1:1 Too large for YAML of this form: ${how}`)
  }
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, merge: false, uniqueKeys: true })
  const [error] = document.errors
  if (error !== undefined) {
    const { line, col } = counter.linePos(error.pos[0])
    throw new KeysFileError(`${line}:${col} ${error.message.split('\n')[0]}`)
  }
  const list = listIn(document.contents)
  const reader = new RowReader()
  for (const item of list?.items ?? []) addItem(item, { text, counter, document, reader })
  const first = list?.flow === true ? undefined : list?.range?.[0]
  const indent = first === undefined ? null : ' '.repeat(counter.linePos(first).col - 1)
  return { entries: reader.done(), indent }
}

interface YamlParts {
  readonly text: string
  readonly counter: LineCounter
  readonly document: Document
  readonly reader: RowReader
}

function addItem(item: unknown, { text, counter, document, reader }: YamlParts): void {
  const [start, end] = (item as Partial<Node> | null)?.range ?? [0, 0]
  const { line, col: column } = counter.linePos(start)
  const value = isMap(item) ? (item.toJS(document, { maxAliasCount: 0 }) as unknown) : null
  reader.add(value, { line, column }, [start, start + text.slice(start, end).trimEnd().length])
}

/** The list of keys; null where it has nothing in it. */
function listIn(root: unknown): YAMLSeq | null {
  const list = isMap(root) && root.items.length === 1 ? root.get('keys', true) : undefined
  if (isSeq(list)) return list
  if (list !== undefined && isNothing(list)) return null
  throw new KeysFileError('1:1 Expected one list: `keys:`, and below it one key each `- { … }`')
}

function isNothing(node: unknown): boolean {
  return (node as { value?: unknown } | null)?.value === null
}

interface Place {
  readonly line: number
  readonly column: number
}

/** Collects keys, and what is wrong with them. */
class RowReader {
  readonly #entries: FileEntry[] = []
  readonly #problems: string[] = []
  readonly #seen = new Set<string>()

  add(value: unknown, { line, column }: Place, [start, end]: [number, number]): void {
    const record = keyOf(value)
    if (typeof record === 'string') this.#problems.push(`${line}:${column} ${record}`)
    else if (this.#seen.has(record.keyId)) {
      this.#problems.push(`${line}:${column} There is a key ${record.keyId} above`)
    } else {
      this.#seen.add(record.keyId)
      this.#entries.push({ record, start, end })
    }
  }

  done(): FileEntry[] {
    if (this.#problems.length === 0) return this.#entries
    const more = this.#problems.length - PROBLEMS_MAX
    const shown = this.#problems.slice(0, PROBLEMS_MAX)
    throw new KeysFileError([...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'))
  }
}
