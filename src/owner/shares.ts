/** How much of what is still free one tenant may have taken. */
const SHARE = 4

/**
 * How many records each tenant has, and whether it may have more. A tenant may have up to four times what
 * is still free: one alone takes four fifths of the whole, two take four ninths each, and whoever comes
 * last still finds room (dynamic thresholds, Choudhury and Hahne 1998). Between counts it adds up what is
 * written here.
 */
export class Shares {
  readonly #recordsMax: number
  #counts = new Map<string, number>()
  #total = 0

  constructor(recordsMax: number) {
    this.#recordsMax = recordsMax
  }

  /** What was counted; what was added before is in it. */
  recount(counts: Iterable<readonly [tenant: string, count: number]>): void {
    this.#counts = new Map(counts)
    this.#total = 0
    for (const count of this.#counts.values()) this.#total += count
  }

  add(tenants: readonly string[]): void {
    for (const tenant of tenants) this.#counts.set(tenant, (this.#counts.get(tenant) ?? 0) + 1)
    this.#total += tenants.length
  }

  remove(tenants: readonly string[]): void {
    for (const tenant of tenants) {
      const count = this.#counts.get(tenant) ?? 0
      if (count === 0) continue
      this.#counts.set(tenant, count - 1)
      this.#total -= 1
    }
  }

  /** Records of all tenants together. */
  get total(): number {
    return this.#total
  }

  /** Whether `tenant` has all that it may have. */
  isFull(tenant: string): boolean {
    const free = this.#recordsMax - this.#total
    return free <= 0 || (this.#counts.get(tenant) ?? 0) >= SHARE * free
  }
}
