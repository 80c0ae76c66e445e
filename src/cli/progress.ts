import { monotonicMs } from '../clock.ts'

/** How far long work is, on a terminal: one line that is written over, and gone at the end. */

const EVERY_MS = 200
/** Back to the beginning of the line, and nothing behind it. */
const CLEAR = '\r\u001B[K'

/** Told of rows as they are done. */
export interface Progress {
  readonly add: (rows: number) => void
  /** Takes the line away. */
  readonly end: () => void
}

/** Nothing is shown. */
export const NO_PROGRESS: Progress = { add: () => {}, end: () => {} }

/** Shows `<what>: 12,000 entries`, at most five times a second. */
export function showProgress(what: string, write: (text: string) => void): Progress {
  let rows = 0
  let shownMs = monotonicMs()
  let isShown = false
  return {
    add: (more) => {
      rows += more
      // Looking at the clock for each row would cost as much as some rows do.
      if (more === 1 && rows % 1000 !== 0) return
      const nowMs = monotonicMs()
      if (nowMs - shownMs < EVERY_MS) return
      shownMs = nowMs
      isShown = true
      write(`${CLEAR}${what}: ${rows.toLocaleString('en-US')} entries`)
    },
    end: () => {
      if (isShown) write(CLEAR)
      isShown = false
    },
  }
}
