import { monotonicMs } from './clock.ts'

/**
 * Long work in short steps, one queue for the whole process: however many bodies are being read, a
 * turn of the event loop runs steps for about `TURN_MS` and then lets sockets and timers have theirs.
 */

/** How long steps may run in one turn, milliseconds; one more step (about 1 ms) may be under way. */
export const TURN_MS = 10

interface Job {
  /** Runs one step; false when it was the last. Never throws. */
  step(): boolean
}

let waiting: Job[] = []
let isScheduled = false

/**
 * Runs a generator to its end in turns with all others, none before the event loop has turned once.
 * Rejects with what the generator throws.
 */
export function inTurns<Result>(steps: Generator<unknown, Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    waiting.push({
      step() {
        try {
          const { done, value } = steps.next()
          if (done === true) resolve(value)
          return done !== true
        } catch (error) {
          reject(error)
          return false
        }
      },
    })
    schedule()
  })
}

/** Runs a generator to its end at once: for steps that are known to be few, or that nobody waits for. */
export function runNow<Result>(steps: Generator<unknown, Result>): Result {
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value
}

function schedule(): void {
  if (isScheduled) return
  isScheduled = true
  setImmediate(turn)
}

/** One step of each job after the other, so that a small body never waits for a large one. */
function turn(): void {
  isScheduled = false
  const endMs = monotonicMs() + TURN_MS
  let at = 0
  let kept: Job[] = []
  while (waiting.length > 0) {
    const job = waiting[at++]
    if (job?.step() === true) kept.push(job)
    if (at >= waiting.length) {
      waiting = kept
      kept = []
      at = 0
    }
    if (monotonicMs() >= endMs) break
  }
  // Those that had no step yet come first in the next turn.
  waiting = at === 0 ? waiting : [...waiting.slice(at), ...kept]
  if (waiting.length > 0) schedule()
}

/** Who waits for the sockets to have their turn, longest first, and since when. */
const breathing: { readonly resume: () => void; readonly sinceMs: number }[] = []
/** Who has waited as long as this goes on, beside the one whose turn it is. */
const BREATH_MS_MAX = 5

/**
 * Resolves when sockets and timers have had their turn. One goes on in each turn of the event loop: of
 * many that came at once none holds up what is relayed for longer than its own next step takes.
 */
export function breath(): Promise<void> {
  return new Promise((resume) => {
    breathing.push({ resume, sinceMs: monotonicMs() })
    if (breathing.length === 1) setImmediate(exhale)
  })
}

function exhale(): void {
  const overdueMs = monotonicMs() - BREATH_MS_MAX
  do breathing.shift()?.resume()
  while (breathing[0] !== undefined && breathing[0].sinceMs < overdueMs)
  if (breathing.length > 0) setImmediate(exhale)
}
