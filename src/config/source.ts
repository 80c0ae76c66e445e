import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Scalar,
  type YAMLError,
} from 'yaml'

import { pathText, type Path, type Problem, visible } from './problem.ts'
import { sourceOffset } from './scalar-offset.ts'
import { yamlMistake } from './yaml-errors.ts'

/** The contract needs nine levels. */
const DEPTH_MAX = 32

/**
 * YAML as far as Governor speaks it: one document of maps, lists and scalars. Anchors, aliases, tags,
 * merge keys and directives are refused, because each lets a file mean something its reader does not
 * see; what YAML's own parser says cryptically is said in our words.
 */
export class Source {
  readonly file: string
  readonly text: string
  /** What is wrong with the writing, before any key is looked at. */
  readonly problems: Problem[] = []
  /** Whether the tree can be trusted; otherwise only `problems` are worth showing. */
  readonly sound: boolean
  readonly #lines = new LineCounter()
  readonly #document: Document

  /** Never throws on any text. */
  constructor(file: string, text: string) {
    this.file = file
    this.text = text
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      uniqueKeys: false,
      logLevel: 'error',
    })
    this.#directives()
    for (const error of this.#document.errors.slice(0, 1)) this.#syntax(error)
    this.sound = this.problems.length === 0
    if (this.sound) this.#refuse(this.root, [], 0)
  }

  get root(): Node | null {
    return this.#document.contents
  }

  /** The problem `message` at an offset of the text. */
  problemAtOffset(offset: number, path: Path, message: string): Problem {
    const { line, col } = this.#lines.linePos(Math.min(offset, this.text.length))
    const at = { line: Math.max(1, line), column: Math.max(1, col) }
    // What a parser quotes is the file's: a terminal and a CI log show it and do not obey it.
    const shown = visible(message)
    return { file: this.file, ...at, path: pathText(path), message: shown, severity: 'error' }
  }

  /** The problem `message` at the value of `path`, or at the nearest thing above that exists. */
  problemAt(path: Path, message: string): Problem {
    return this.problemAtOffset(this.#offset(path), path, message)
  }

  /** The problem `message` at a UTF-16 unit of the string at `path`, whatever its style. */
  problemWithin(path: Path, offset: number, message: string): Problem {
    const node = this.#document.getIn(path, true)
    if (!isScalar(node)) return this.problemAt(path, message)
    return this.problemAtOffset(sourceOffset(this.text, node, offset), path, message)
  }

  /** The string at `path` as it stands in the file; null when there is none. */
  raw(path: Path): string | null {
    const node = this.#document.getIn(path, true)
    return isScalar(node) && node.value !== null ? scalarText(node) : null
  }

  /** Whether the file has the key, whatever its value. */
  has(path: Path): boolean {
    return this.#document.hasIn(path)
  }

  /** The scalar at `path` as it stands in the file, shortened; never a substituted value. */
  shown(path: Path): string {
    const node = path.length === 0 ? this.root : this.#document.getIn(path, true)
    return isScalar(node) ? quote(scalarText(node)) : 'this value'
  }

  #offset(path: Path): number {
    for (let length = path.length; length > 0; length--) {
      const node = this.#document.getIn(path.slice(0, length), true) as Node | undefined
      if (node?.range !== undefined && node.range !== null) return node.range[0]
    }
    return this.root?.range?.[0] ?? 0
  }

  #directives(): void {
    let offset = 0
    for (const line of this.text.split('\n')) {
      if (!/^(\s*(#.*)?|%.*)$/.test(line)) return
      if (line.startsWith('%')) {
        const message = 'YAML directives are not supported: remove the line'
        this.problems.push(this.problemAtOffset(offset, [], message))
      }
      offset += line.length + 1
    }
  }

  /** Only the first syntax error: those after it are mostly its echo. */
  #syntax(error: YAMLError): void {
    const offset = Math.max(0, error.pos[0])
    const mistake = yamlMistake(error, this.text, offset)
    this.problems.push(this.problemAtOffset(mistake.offset, [], mistake.message))
  }

  #refuse(node: unknown, path: Path, depth: number): void {
    if (depth > DEPTH_MAX) {
      const message = `Nested deeper than ${DEPTH_MAX} levels`
      this.problems.push(this.problemAt(path, message))
    } else if (isAlias(node)) {
      const written = quote(`*${node.source}`)
      const message = `YAML reads ${written} as an alias, which is not supported: quote a pattern, share a list with \`sets\``
      this.problems.push(this.problemAtOffset(node.range?.[0] ?? 0, path, message))
    } else if (isSeq(node)) {
      this.#refuseProperties(node, path)
      node.items.forEach((item, index) => this.#refuse(item, [...path, index], depth + 1))
    } else if (isMap(node)) {
      this.#refuseProperties(node, path)
      for (const { key, value } of node.items) this.#refusePair(key, value, { path, depth })
    } else if (isScalar(node)) this.#refuseProperties(node, path)
  }

  #refusePair(
    key: unknown,
    value: unknown,
    { path, depth }: { readonly path: Path; readonly depth: number },
  ): void {
    if (!isScalar(key)) return
    const inner = [...path, String(key.value)]
    this.#refuseProperties(key, inner)
    if (key.value !== '<<') return this.#refuse(value, inner, depth + 1)
    const message = 'Merge keys are not supported: write the keys out'
    this.problems.push(this.problemAtOffset(key.range?.[0] ?? 0, inner, message))
  }

  #refuseProperties({ anchor, tag, range }: Properties, path: Path): void {
    const start = range?.[0] ?? 0
    if (tag !== undefined) {
      const last = Math.max(0, this.text.lastIndexOf('!', start - 1))
      const offset = this.text[last - 1] === '!' ? last - 1 : last
      const written = quote(/^\S*/.exec(this.text.slice(offset))?.[0] ?? tag)
      const message = `YAML reads ${written} as a tag, which is not supported: quote the expression`
      this.problems.push(this.problemAtOffset(offset, path, message))
    } else if (anchor !== undefined) {
      const message = 'YAML anchors are not supported: share a list with `sets`'
      const offset = Math.max(0, this.text.lastIndexOf(`&${anchor}`, start))
      this.problems.push(this.problemAtOffset(offset, path, message))
    }
  }
}

type Properties = Pick<Scalar, 'range'> & { readonly anchor?: string; readonly tag?: string }

/** A scalar as it stands in the file, without quotes. */
export function scalarText({ value, source }: Scalar): string {
  return typeof value === 'string' ? value : (source ?? JSON.stringify(value))
}

/** A value for a message: quoted, escaped, at most 80 characters. */
export function quote(value: string): string {
  return visible(JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}…` : value))
}
