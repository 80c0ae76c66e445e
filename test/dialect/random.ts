/** Seeded randomness (mulberry32), so that a failing case can be run again. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** An integer from 0 up to `limit`, exclusive. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!
  }
}

export type Tree = null | boolean | number | string | Tree[] | { [key: string]: Tree }

const PIECES = ['a', 'Zeb', ' ', '"', '\\', '/', '\n', '\u0001', 'é', 'ſ', '漢', '😀', '~', 'K']

export function randomString(random: Random): string {
  return Array.from({ length: random.below(6) }, () => random.pick(PIECES)).join('')
}

/** A random JSON value; keys of an object differ from each other even when folded. */
export function randomTree(random: Random, depth: number): Tree {
  const kind = random.below(depth > 0 ? 8 : 5)
  if (kind === 0) return random.pick([null, true, false])
  if (kind === 1) return random.pick([0, -1, 1.5, 1e21, -2.5e-7, 12_345_678])
  if (kind < 5) return randomString(random)
  const size = random.below(12)
  if (kind < 7) return Array.from({ length: size }, () => randomTree(random, depth - 1))
  return randomObject(random, depth, size)
}

export function randomObject(random: Random, depth: number, size: number): { [key: string]: Tree } {
  const object: { [key: string]: Tree } = {}
  for (let at = 0; at < size; at++) {
    object[`${at}${randomString(random)}`] = randomTree(random, depth - 1)
  }
  return object
}
