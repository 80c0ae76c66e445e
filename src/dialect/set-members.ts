/** Puts and clamps parameters of a request, in the bytes it was sent in. */
import type { Parameter, ParameterNames, Splice } from '../exchange.ts'
import { KIND } from './json-tape.ts'
import { type JsonDocument, readJson } from './json.ts'

/** What has to stand where `sent` stands (null: nothing was sent); null where nothing has to. */
export type Settle = (parameter: Parameter, sent: number | string | null) => number | string | null

/** Where parameters are in the body of one endpoint. */
export type ParameterTable = Readonly<Partial<Record<Parameter, ParameterNames>>>

/**
 * Splices that make of the parameters of a body what `settle` says, in order of place. The body has
 * been inspected; parameters that are not in `table` are left alone. Yields while it reads a long body.
 */
export function* setMembers(
  bytes: Buffer,
  { table, jsonDepth }: { readonly table: ParameterTable; readonly jsonDepth: number },
  settle: Settle,
): Generator<void, readonly Splice[]> {
  const edit = new MemberEdit(yield* readJson(bytes, jsonDepth))
  for (const [parameter, { names, others = [] }] of Object.entries(table)) {
    const settled = (sent: number | string | null) => settle(parameter as Parameter, sent)
    let isSent = false
    for (const name of [...names, ...others]) {
      const node = edit.find(name)
      if (node === -1) continue
      if (names.includes(name)) isSent = true
      edit.put(node, settled(edit.value(node)))
    }
    const put = isSent ? null : settled(null)
    if (put !== null && names[0] !== undefined) edit.add(names[0], JSON.stringify(put))
  }
  return edit.splices()
}

/** Edits of members, gathered so that two of one object get on. */
class MemberEdit {
  readonly #doc: JsonDocument
  readonly #splices: Splice[] = []
  /** Members to be put at the beginning of an object, by its node. */
  readonly #added = new Map<number, string[]>()

  constructor(doc: JsonDocument) {
    this.#doc = doc
  }

  /** The value of `name`, or of `outer.inner` and so on; -1 when it is absent or null. */
  find(name: string): number {
    let node = 0
    for (const each of name.split('.')) {
      node = this.#doc.given(node, each)
      if (node === -1) break
    }
    return node
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

  /** Puts a member where there is none, or null, with the objects that lead to it. */
  add(name: string, json: string): void {
    const doc = this.#doc
    const path = name.split('.')
    let object = 0
    for (const [index, each] of path.entries()) {
      const there = doc.member(object, each)
      const rest = path.slice(index + 1)
      const wrapped = rest.reduceRight((inner, key) => `{${JSON.stringify(key)}:${inner}}`, json)
      if (there === -1) return this.#put(object, each, wrapped)
      if (rest.length === 0 || doc.kind(there) === KIND.NULL) return this.#replace(there, wrapped)
      if (doc.kind(there) !== KIND.OBJECT) return
      object = there
    }
  }

  #put(object: number, name: string, json: string): void {
    const members = this.#added.get(object) ?? []
    members.push(`${JSON.stringify(name)}:${json}`)
    this.#added.set(object, members)
  }

  #replace(node: number, text: string): void {
    this.#splices.push({ start: this.#doc.start(node), end: this.#doc.end(node), text })
  }

  splices(): readonly Splice[] {
    const doc = this.#doc
    for (const [object, members] of this.#added) {
      const start = doc.start(object) + 1
      const isEmpty = doc.next(object) === object + 1
      this.#splices.push({ start, end: start, text: `${members.join(',')}${isEmpty ? '' : ','}` })
    }
    return this.#splices.sort((a, b) => a.start - b.start)
  }
}
