/** Puts and clamps parameters of a request, in the bytes it was sent in. */
import type { Parameter, ParameterNames, Splice } from '../exchange.ts'
import { foldKey } from './json-fold.ts'
import { KIND } from './json-tape.ts'
import { type JsonDocument, readJson } from './json.ts'
import { fieldInvalid } from './openai-fields.ts'

/** What has to stand where `sent` stands (null: nothing was sent); null where nothing has to. */
export type Settled = (sent: number | string | null) => number | string | null

/** What becomes of a parameter; undefined of one that nothing is said about. */
export type Settle = (parameter: Parameter) => Settled | undefined

/** Where parameters are in the body of one endpoint. */
export type ParameterTable = Readonly<Partial<Record<Parameter, ParameterNames>>>

/**
 * Splices that make of the parameters of a body what `settle` says, in order of place. The body has
 * been inspected; parameters that are not in `table` are left alone. Yields while it reads a long body.
 * Throws FIELD_INVALID where a parameter that is settled could be read past the edit: in what should be
 * an object and is none, or under a name that is its own but for the case.
 */
export function* setMembers(
  bytes: Buffer,
  { table, jsonDepth }: { readonly table: ParameterTable; readonly jsonDepth: number },
  settle: Settle,
): Generator<void, readonly Splice[]> {
  const edit = new MemberEdit(yield* readJson(bytes, jsonDepth))
  for (const [parameter, { names, others = [] }] of Object.entries(table)) {
    const settled = settle(parameter as Parameter)
    if (settled === undefined) continue
    let isSent = false
    for (const name of [...names, ...others]) {
      const node = edit.find(name)
      if (node === -1) continue
      if (names.includes(name)) isSent = true
      edit.put(node, settled(edit.value(node)))
    }
    const put = isSent ? null : settled(null)
    if (put !== null && names.length > 0) edit.add(names, JSON.stringify(put))
  }
  return edit.splices()
}

/** Members that are put: JSON by name, or the members of an object that is put with them. */
type Members = Map<string, string | Members>

/** Edits of members, gathered so that several of one object get on, also of one that was not there. */
class MemberEdit {
  readonly #doc: JsonDocument
  readonly #splices: Splice[] = []
  /** Members to be put at the beginning of an object, or in place of null, by its node. */
  readonly #added = new Map<number, Members>()

  constructor(doc: JsonDocument) {
    this.#doc = doc
  }

  /**
   * The value of `name`, or of `outer.inner` and so on; -1 when it is absent or null. Throws
   * FIELD_INVALID where something else stands in an object's place, or beside the name another case of it.
   */
  find(name: string): number {
    const doc = this.#doc
    let node = 0
    for (const each of name.split('.')) {
      if (doc.kind(node) !== KIND.OBJECT) throw fieldInvalid(doc, node, 'must be an object or null')
      this.#checkCase(node, each)
      node = doc.given(node, each)
      if (node === -1) break
    }
    return node
  }

  /** Servers in Go read a member under every case of its name, also where we would put it anew. */
  #checkCase(object: number, name: string): void {
    const doc = this.#doc
    const end = doc.next(object)
    for (let key = object + 1; key < end; key = doc.next(key + 1)) {
      if (doc.isKey(key, name)) continue
      const written = doc.word(key)
      // Simple folding keeps the number of characters, and all that fold to ASCII are of one unit.
      if (written.length !== name.length || foldKey(written) !== foldKey(name)) continue
      throw fieldInvalid(doc, key, `must be spelled ${name}`)
    }
  }

  /** A number, or what else stands there as a text. */
  value(node: number): number | string {
    const doc = this.#doc
    if (doc.kind(node) === KIND.STRING) return doc.text(node)
    const text = doc.bytes.toString('latin1', doc.start(node), doc.end(node))
    return doc.kind(node) === KIND.NUMBER ? Number(text) : text
  }

  put(node: number, put: number | string | null): void {
    if (put !== null && put !== this.value(node)) this.#replace(node, JSON.stringify(put))
  }

  /** Puts a member where there is none, or null, under the name of which most is there. */
  add(names: readonly string[], json: string): void {
    const path = this.#nearest(names)
    const at = this.#there(path)
    const node = at.at(-1) ?? 0
    const rest = path.slice(at.length)
    if (rest.length === 0) return this.#replace(node, json)
    let members = this.#added.get(node) ?? new Map<string, string | Members>()
    this.#added.set(node, members)
    for (const name of rest.slice(0, -1)) {
      const inner = members.get(name)
      const within: Members = inner instanceof Map ? inner : new Map()
      members.set(name, within)
      members = within
    }
    members.set(rest.at(-1) ?? '', json)
  }

  /** Of names for one member (`a.b`, `a_a.b`) the first of those that begin like what is there, as a path. */
  #nearest(names: readonly string[]): readonly string[] {
    const paths = names.map((name) => name.split('.'))
    const depths = paths.map((path) => (path.length === 1 ? 0 : this.#there(path).length))
    return paths[depths.indexOf(Math.max(...depths))] ?? []
  }

  /** Nodes of the members of a path, as far as it is there. */
  #there(path: readonly string[]): readonly number[] {
    const nodes: number[] = []
    for (const name of path) {
      const node = this.#doc.member(nodes.at(-1) ?? 0, name)
      if (node === -1) break
      nodes.push(node)
    }
    return nodes
  }

  #replace(node: number, text: string): void {
    this.#splices.push({ start: this.#doc.start(node), end: this.#doc.end(node), text })
  }

  splices(): readonly Splice[] {
    const doc = this.#doc
    for (const [node, members] of this.#added) {
      if (doc.kind(node) === KIND.NULL) {
        this.#replace(node, `{${printed(members)}}`)
        continue
      }
      const start = doc.start(node) + 1
      const isEmpty = doc.next(node) === node + 1
      this.#splices.push({ start, end: start, text: `${printed(members)}${isEmpty ? '' : ','}` })
    }
    return this.#splices.sort((a, b) => a.start - b.start)
  }
}

function printed(members: Members): string {
  const parts: string[] = []
  for (const [name, value] of members) {
    const json = typeof value === 'string' ? value : `{${printed(value)}}`
    parts.push(`${JSON.stringify(name)}:${json}`)
  }
  return parts.join(',')
}
