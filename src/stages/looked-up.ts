import { tunedId } from '../dialect/created.ts'
import { GovernorError } from '../errors.ts'
import type { Facts, Trail, Uninspectable } from '../exchange.ts'
import type { OwnedCall, References } from '../nouns/owned.ts'
import type { Owned } from '../owner/store.ts'

/** Whose the things are that one call names. */

/** Query parameters that name something that is kept. */
const NAMING: ReadonlySet<string> = new Set(['after', 'before', 'after_id', 'before_id', 'run_id'])
/** What an id in a body may be marked as. */
const LIFTED: ReadonlySet<string> = new Set(['reference', 'file', 'image', 'audio'])
/** As `MARKS_PER_KIND_MAX`: of a kind with as many marks some may be missing. */
const MARKS_MAX = 16

/** Whether any part of the path may name something that is kept, as nobody knows what the call does. */
export function isUnknown({ route }: Trail): boolean {
  return route!.endpoint.operation === 'other'
}

/** What was found out about one call. */
export class Looked implements OwnedCall {
  readonly references: References
  readonly ids: readonly string[]
  found: ReadonlyMap<string, Owned> = new Map()
  later: OwnedCall['later'] = null
  readonly mayRepeat: boolean
  readonly #ofSession = new Set<string>()
  readonly #tenant: string
  readonly #path: readonly string[]
  readonly #query: readonly string[]
  readonly #models: readonly string[]

  constructor(trail: Trail, references: References, mayRepeat: boolean) {
    const { route, principal } = trail
    this.mayRepeat = mayRepeat
    this.references = references
    this.#tenant = principal!.tenant
    this.#path = route!.ids ?? []
    this.#query = isUnknown(trail) ? route!.path.split('/') : namedIn(route!.path)
    this.#models = (trail.facts?.models ?? []).map(tunedId).filter((id) => id !== null)
    const said = [...references.named, ...references.carried].map(({ id }) => id)
    // What cannot be an id is nobody's; a store could choke on it.
    this.ids = [...new Set([...this.#path, ...this.#query, ...this.#models, ...said])].filter(
      (id) => ID.test(id),
    )
  }

  /** What nobody owns and `knows` says the caller made a moment ago is the caller's own. */
  adopt(knows: (id: string) => boolean): void {
    for (const { id } of this.references.named) {
      if (!this.found.has(id) && knows(id)) this.#ofSession.add(id)
    }
  }

  get origin(): string | null {
    return this.#thing?.origin ?? null
  }

  get isAwaited(): boolean {
    return this.#thing?.isAwaited ?? false
  }

  get models(): readonly string[] {
    return this.#thing?.models ?? []
  }

  /** Models of what a body refers to. */
  get modelsNamed(): readonly string[] {
    return this.references.named.flatMap(({ id }) => this.found.get(id)?.models ?? [])
  }

  get #thing(): Owned | undefined {
    return this.found.get(this.#path[0] ?? '')
  }

  /** What is below a thing of the tenant is its own, unless another is known to own it. */
  checkPath(): void {
    const [first, ...below] = this.#path
    if (first !== undefined && !this.#isOwn(first)) throw unknown()
    if ([...below, ...this.#query].some((id) => this.#isOthers(id))) throw unknown()
  }

  checkBody(refusesUnknown: boolean): void {
    const { named, carried, everybody } = this.references
    if (everybody !== null) throw unknown(everybody)
    const wrong =
      named.find(({ id }) => {
        return refusesUnknown ? !this.#isOwn(id) : this.#isOthers(id) || !ID.test(id)
      }) ?? carried.find(({ id }) => this.#isOthers(id))
    if (wrong !== undefined) throw unknown(wrong.pointer)
    // One that nobody made here may be everybody's: about that the policies decide.
    if (this.#models.some((id) => this.#isOthers(id))) throw unknown('model')
  }

  /** Facts of the same call, read anew or as it was. */
  lift(facts: Facts): Facts {
    const { named } = this.references
    const strange = named.filter(({ id }) => !this.#isOwn(id)).map(({ pointer }) => pointer)
    const full = new Set(
      [...Map.groupBy(facts.uninspectable, ({ kind }) => kind)]
        .filter(([, marks]) => marks.length >= MARKS_MAX)
        .map(([kind]) => kind),
    )
    const kept = facts.uninspectable.filter(
      (mark) => full.has(mark.kind) || !this.#lifts(mark, strange),
    )
    const known = new Set(kept.map(({ pointer }) => pointer))
    const added = strange
      .filter((pointer) => !holders(pointer).some((holder) => known.has(holder)))
      .slice(0, MARKS_MAX)
      .map((pointer): Uninspectable => ({ kind: 'reference', pointer }))
    const isSame = kept.length === facts.uninspectable.length && added.length === 0
    return isSame ? facts : { ...facts, uninspectable: [...kept, ...added] }
  }

  /** Whether all that a mark stands for was created here by the same tenant. */
  #lifts({ kind, pointer }: Uninspectable, strange: readonly string[]): boolean {
    if (!LIFTED.has(kind)) return false
    // What is answered later is looked at when it is fetched.
    if (pointer === '/background') return this.references.isBackground
    const { named, mixed } = this.references
    if (pointer === '') return strange.length === 0 && this.#path.length + named.length > 0
    const isBelow = (each: string) => each === pointer || each.startsWith(`${pointer}/`)
    if (mixed.has(pointer) || strange.some(isBelow)) return false
    return named.some((each) => isBelow(each.pointer))
  }

  #isOwn(id: string): boolean {
    return this.found.get(id)?.tenant === this.#tenant || this.#ofSession.has(id)
  }

  #isOthers(id: string): boolean {
    const owner = this.found.get(id)?.tenant
    return owner !== undefined && owner !== this.#tenant
  }
}

/** Ids and addresses of files. What else stands in an id some provider may read as another. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_./:-]{0,1023}$/

/** A pointer and those of all that holds it. */
function holders(pointer: string): string[] {
  const all = [pointer]
  for (let at = pointer.lastIndexOf('/'); at >= 0; at = pointer.lastIndexOf('/', at - 1)) {
    all.push(pointer.slice(0, at))
    if (at === 0) break
  }
  return all
}

function unknown(param?: string): GovernorError {
  return new GovernorError('STORED_UNKNOWN', {
    ...(param !== undefined && { param }),
    headers: { 'x-should-retry': 'false' },
  })
}

function namedIn(path: string): string[] {
  const at = path.indexOf('?')
  if (at === -1) return []
  const found: string[] = []
  for (const [name, value] of new URLSearchParams(path.slice(at + 1))) {
    if (NAMING.has(name) && value !== '') found.push(value)
  }
  return found
}
