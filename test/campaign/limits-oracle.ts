/** A call that was let pass, by the clock all processes of a machine share, ms. */
export interface Grant {
  readonly sentMs: number
  readonly heardMs: number
  /** When it gave back what it held. */
  readonly settledMs: number
  readonly key: number
  readonly spent: number
}

/**
 * The most calls that were certainly let pass within one window: it began when one of them was sent, and
 * all the others were sent after that and heard of before its end. What the store counted in between
 * is at least that.
 */
export function mostInWindow(grants: readonly Grant[], windowMs: number): number {
  const sorted = [...grants].sort((one, other) => one.sentMs - other.sentMs)
  const slowestMs = Math.max(0, ...sorted.map(({ sentMs, heardMs }) => heardMs - sentMs))
  let most = 0
  let end = 0
  for (const [start, { sentMs }] of sorted.entries()) {
    const endMs = sentMs + windowMs
    while (end < sorted.length && sorted[end]!.sentMs <= endMs) end++
    let count = end - start
    for (let at = end - 1; at >= start && sorted[at]!.sentMs > endMs - slowestMs; at--) {
      if (sorted[at]!.heardMs > endMs) count--
    }
    most = Math.max(most, count)
  }
  return most
}

/** The most calls that certainly held a place at the same time. */
export function mostAtOnce(grants: readonly Grant[]): number {
  const turns = grants
    .flatMap(({ heardMs, settledMs }) => [
      { atMs: heardMs, by: 1 },
      { atMs: settledMs, by: -1 },
    ])
    // Of two at one moment the end comes first: held at the same time is what is certain.
    .sort((one, other) => one.atMs - other.atMs || one.by - other.by)
  let held = 0
  let most = 0
  for (const { by } of turns) {
    held += by
    most = Math.max(most, held)
  }
  return most
}

/** How many calls of each key were let pass, the most of them. */
export function mostOfKey(grants: readonly Grant[]): number {
  const counts = new Map<number, number>()
  for (const { key } of grants) counts.set(key, (counts.get(key) ?? 0) + 1)
  return Math.max(0, ...counts.values())
}
