import { GovernorError } from '../errors.ts'

/** Whose turn it is to be. */
export interface Applicant {
  /** What it is about: the id of a key. */
  readonly about: string
  /** Where it comes from: an address. */
  readonly source: string
  /** Whether it was wrong about that before: those who were not go first. */
  readonly isSuspect: boolean
}

interface Waiter {
  readonly go: () => void
  readonly refuse: (error: GovernorError) => void
}

/** One turn in so many is for those who were wrong before. */
const SUSPECT_EVERY = 4

/**
 * So many at once, and so many that wait, each in its turn: whom nobody has seen to be wrong before others,
 * then each thing it is about in turn, and of each thing each source. However many are sent about one
 * thing or from one source, another waits for at most one of them. When all places are taken, those who
 * were wrong give one up, else what most wait for.
 */
export class FairTurns {
  readonly #atOnceMax: number
  readonly #waitingMax: number
  readonly #fresh = new Line()
  readonly #suspects = new Line()
  #running = 0
  #turn = 0

  constructor(given: { readonly atOnceMax: number; readonly waitingMax: number }) {
    this.#atOnceMax = given.atOnceMax
    this.#waitingMax = given.waitingMax
  }

  /** Resolves when it is this one's turn. Rejects with AUTH_BUSY (429) when too many wait. */
  async enter(applicant: Applicant): Promise<void> {
    if (this.#running < this.#atOnceMax) {
      this.#running += 1
      return
    }
    if (this.#fresh.size + this.#suspects.size >= this.#waitingMax) this.#makeRoom(applicant)
    await new Promise<void>((go, refuse) => this.#line(applicant).add(applicant, { go, refuse }))
  }

  /** Ends a turn that `enter` began. */
  leave(): void {
    this.#turn = (this.#turn + 1) % SUSPECT_EVERY
    const [first, then] =
      this.#turn === 0 ? [this.#suspects, this.#fresh] : [this.#fresh, this.#suspects]
    const next = first.next() ?? then.next()
    if (next === null) this.#running -= 1
    else next.go()
  }

  #line({ isSuspect }: Applicant): Line {
    return isSuspect ? this.#suspects : this.#fresh
  }

  #makeRoom(applicant: Applicant): void {
    const own = this.#line(applicant)
    const found = own === this.#fresh ? this.#suspects.takeLargest() : null
    const refused = found ?? own.takeLarger(applicant)
    if (refused === null) throw busy()
    refused.refuse(busy())
  }
}

type Sources = Map<string, Waiter[]>

/** Those who wait, in the order of their turns; nothing in it is empty. */
class Line {
  readonly #abouts = new Map<string, Sources>()
  size = 0

  add({ about, source }: Applicant, waiter: Waiter): void {
    let sources = this.#abouts.get(about)
    if (sources === undefined) this.#abouts.set(about, (sources = new Map()))
    const own = sources.get(source)
    if (own === undefined) sources.set(source, [waiter])
    else own.push(waiter)
    this.size += 1
  }

  /** The next one, after whom its source and what it is about have to wait. */
  next(): Waiter | null {
    const first = this.#abouts.entries().next()
    if (first.done === true) return null
    const [about, sources] = first.value
    const [source, own] = sources.entries().next().value!
    const waiter = own.shift()!
    this.size -= 1
    sources.delete(source)
    if (own.length > 0) sources.set(source, own)
    this.#abouts.delete(about)
    if (sources.size > 0) this.#abouts.set(about, sources)
    return waiter
  }

  /** Of what most wait for, the last of the source that waits most; null where nobody waits. */
  takeLargest(): Waiter | null {
    const [largest] = largestOf(this.#abouts, sum)
    return largest === undefined ? null : this.#takeFrom(largest)
  }

  /** The same, where it waits for more than `applicant` would; null where nothing does. */
  takeLarger({ about, source }: Applicant): Waiter | null {
    const own = this.#abouts.get(about)
    const [largest, most] = largestOf(this.#abouts, sum)
    if (largest === undefined) return null
    if (largest !== about && most > (own === undefined ? 0 : sum(own)) + 1) {
      return this.#takeFrom(largest)
    }
    if (own === undefined) return null
    const [, longest] = largestOf(own, ({ length }) => length)
    return longest > (own.get(source)?.length ?? 0) + 1 ? this.#takeFrom(about) : null
  }

  #takeFrom(about: string): Waiter {
    const sources = this.#abouts.get(about)!
    const [source] = largestOf(sources, ({ length }) => length)
    const own = sources.get(source!)!
    const waiter = own.pop()!
    this.size -= 1
    if (own.length === 0) sources.delete(source!)
    if (sources.size === 0) this.#abouts.delete(about)
    return waiter
  }
}

/** Of several as large the last. */
function largestOf<Value>(
  map: ReadonlyMap<string, Value>,
  size: (value: Value) => number,
): [name: string | undefined, size: number] {
  let found: [string | undefined, number] = [undefined, 0]
  for (const [name, value] of map) {
    const own = size(value)
    if (own >= found[1]) found = [name, own]
  }
  return found
}

function sum(sources: Sources): number {
  let count = 0
  for (const { length } of sources.values()) count += length
  return count
}

function busy(): GovernorError {
  return new GovernorError('AUTH_BUSY', { headers: { 'retry-after': '1' } })
}
