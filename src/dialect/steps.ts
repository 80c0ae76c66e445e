/** Long work in short stretches, so that no body holds the event loop. */

/** Bytes or characters looked at between two yields. */
export const STRETCH_BYTES = 64 * 1024

/** Runs a generator to its end at once: for work known to be short. */
export function runSteps<Result>(steps: Generator<void, Result>): Result {
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value
}
