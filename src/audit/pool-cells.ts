import type { Pool } from 'pg'

import type { PoolState } from '../metrics.ts'

/** The state of a thread's pool where another thread can read it: open, in use, waiting. */
export type PoolCells = Int32Array<SharedArrayBuffer>

const CELLS = 3

/** All zero, as of a pool that is not open. */
export function poolCells(): PoolCells {
  return new Int32Array(new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT))
}

/** What the cells say now. */
export function poolState(cells: PoolCells): PoolState {
  const [open = 0, inUse = 0, waiting = 0] = cells
  return { open, inUse, waiting }
}

/** Keeps the state of `pool` in `cells` from now on. */
export function watchPool(pool: Pool, cells: PoolCells): void {
  const note = (): void => {
    const { totalCount, idleCount, waitingCount } = pool
    cells.set([totalCount, totalCount - idleCount, waitingCount])
  }
  // The pool counts what it tells of only afterwards.
  const later = (): void => queueMicrotask(note)
  for (const event of ['connect', 'acquire', 'release', 'remove'] as const) pool.on(event, later)
}
