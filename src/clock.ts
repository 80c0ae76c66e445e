/** The only file that asks the machine what time it is or starts a repeating timer. */

/** Wall clock, milliseconds since 1970. May jump; never use it to measure a duration. */
export function wallMs(): number {
  return Date.now()
}

/** Monotonic milliseconds with fractions; the zero point means nothing. */
export function monotonicMs(): number {
  return performance.now()
}

/** Calls `task` every `intervalMs` without keeping the process alive; the result stops it. */
export function every(intervalMs: number, task: () => void): () => void {
  const timer = setInterval(task, intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}
