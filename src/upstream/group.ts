/** A member of a group, as far as choosing goes. */
export interface Member {
  /** Lower goes first. */
  readonly priority: number
  readonly weight: number
  /** Whether a call would be taken now: its breaker lets it pass and a place is free. */
  available(nowMs: number): boolean
}

/**
 * Upstreams that stand in for each other. Chooses by priority, then by weight: smooth weighted
 * round-robin, which spreads 5:1 as a a b a a a, not as five of one and then the other. One per
 * group and snapshot.
 */
export class Group<Each extends Member> {
  readonly #members: readonly Each[]
  readonly #credit = new Map<Each, number>()

  constructor(members: readonly Each[]) {
    this.#members = [...members].sort((a, b) => a.priority - b.priority)
  }

  /**
   * One that `serves`, was not tried and is available; null when there is none. `nowMs` is monotonic.
   */
  pick(serves: (member: Each) => boolean, nowMs: number, tried: readonly Each[] = []): Each | null {
    const able = this.#members.filter(
      (each) => !tried.includes(each) && each.available(nowMs) && serves(each),
    )
    const [first] = able
    if (first === undefined) return null
    return this.#next(able.filter(({ priority }) => priority === first.priority))
  }

  #next(able: readonly Each[]): Each {
    let total = 0
    let best = able[0]!
    let bestCredit = -Infinity
    for (const each of able) {
      const credit = (this.#credit.get(each) ?? 0) + each.weight
      this.#credit.set(each, credit)
      total += each.weight
      if (credit <= bestCredit) continue
      best = each
      bestCredit = credit
    }
    this.#credit.set(best, bestCredit - total)
    return best
  }
}
