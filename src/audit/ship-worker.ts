import { parentPort, workerData } from 'node:worker_threads'

import { monotonicMs, wallMs } from '../clock.ts'
import type { ShipConfig } from '../config/snapshot.ts'
import { logBytes, makeRoom, SOFT_SHARE } from './make-room.ts'
import type { PoolCells } from './pool-cells.ts'
import { postgresMessage } from './postgres.ts'
import type { UpTo } from './prune.ts'
import { backoffMs } from './ship-backoff.ts'
import type { Sink } from './ship-types.ts'
import type { ShipOrder, ShipState, ShipWord } from './ship.ts'
import { shippedTo } from './shipped-to.ts'
import { Shipper } from './shipper.ts'
import { openSink } from './sink.ts'

/**
 * The thread that ships, so that encoding batches and waiting for a database cost the calls nothing.
 * It ends when it is told to drain and everything is shipped, or when the main thread has waited
 * long enough and stops it.
 */

/** What `ship.ts` starts this thread with. */
export interface ShipWorkerOptions {
  readonly path: string
  readonly sink: ShipConfig
  /** Hex: the writer whose progress is told. */
  readonly writer: string
  /** `audit.local_max`. */
  readonly localBytesMax: number
  /** Governor's, for the entry that says what was removed. */
  readonly version: string
  /** Told of its connections to PostgreSQL. */
  readonly cells: PoolCells
}

/** How often a log that was shipped to its end is looked at again. */
const LOOK_MS = 250
/** How often the size of the log is looked at. */
const ROOM_MS = 2_000
/** How much later when nothing could be removed: to find that out reads the whole log. */
const IN_VAIN_MS = 60_000
/** Between two steps. */
const STEP_MS = 250
/** While the place is away: how often what waits is counted. */
const COUNT_MS = 1_000

const options = workerData as ShipWorkerOptions
let place = options.sink
/** Null until it could be opened: a certificate may be mounted later, a disk may be full. */
let sink: Sink | null = null
const orders: { next: ShipConfig | null; draining: boolean } = { next: null, draining: false }
let wake: (() => void) | null = null
/** Told of something new since the last step began. */
let woken = false
let told = ''
/** When the size is looked at next, and whether entries are being removed. */
const room = { lookMs: -Infinity, isPartial: false }
const own = { epoch: 0, seq: 0, forked: false }

const shipper = newShipper()

function newShipper(): Shipper {
  return new Shipper({
    path: options.path,
    sink: {
      check: async () => opened().check(),
      heads: async (chains) => opened().heads(chains),
      put: async (batch) => opened().put(batch),
      close: async () => sink?.close(),
    },
    onFork: (fork) => {
      own.forked ||= fork.chain.startsWith(options.writer)
      say({ kind: 'fork', fork })
    },
    onDead: (entries) => say({ kind: 'dead', entries }),
    onHead: ({ writerId, epoch }, { seq }) => {
      if (writerId.toString('hex') !== options.writer || epoch < own.epoch) return
      own.seq = epoch === own.epoch ? Math.max(own.seq, seq) : seq
      own.epoch = epoch
    },
  })
}

function opened(): Sink {
  sink ??= openSink(place, options.path, options.cells)
  return sink
}

function say(word: ShipWord): void {
  const port = parentPort
  port?.postMessage(word)
}

/** Told only when something changed. True when nothing waits. */
function tell(why: string | null): boolean {
  let waits = { entries: 0, oldestUs: 0 }
  try {
    waits = shipper.backlog()
  } catch {
    // The next step meets the same error and says it.
  }
  const state: ShipState = {
    ...waits,
    epoch: own.epoch,
    seq: own.seq,
    takes: why === null && !own.forked,
    why,
    forks: shipper.forks.length,
  }
  const text = JSON.stringify(state)
  if (text !== told) say({ kind: 'state', state })
  told = text
  return waits.entries === 0
}

function rest(timeMs: number): Promise<void> {
  if (woken) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeMs)
    wake = () => {
      clearTimeout(timer)
      resolve()
    }
  })
}

/** Sleeps after a failure, unless there is another place by now. False when it is time to end. */
async function waitOut(timeMs: number, why: string): Promise<boolean> {
  const untilMs = monotonicMs() + timeMs
  for (let leftMs = timeMs; leftMs > 0 && orders.next === null; leftMs = untilMs - monotonicMs()) {
    if (tell(why) && orders.draining) return false
    await new Promise((resolve) => setTimeout(resolve, Math.min(leftMs, COUNT_MS)))
  }
  return true
}

async function useNext(): Promise<void> {
  const config = orders.next
  if (config === null) return
  orders.next = null
  await sink?.close()
  sink = null
  place = config
  shipper.forget()
}

/** Near `audit.local_max` entries that have arrived make room for others, a step at a time. */
async function clear(more: boolean): Promise<void> {
  const { path, version, localBytesMax } = options
  if (monotonicMs() < room.lookMs) return
  room.lookMs = monotonicMs() + ROOM_MS
  try {
    if (!room.isPartial && logBytes(path) < localBytesMax * SOFT_SHARE) return
    const arrived = await shippedTo(path, opened())
    const forks = new Set(shipper.forks.map(({ chain }) => chain))
    // Of a forked chain what is here may be the only true one, wherever its head stands there.
    const shipped: UpTo = (writer, epoch) =>
      forks.has(`${writer}:${epoch}`) ? 0 : arrived(writer, epoch)
    const made = makeRoom({ path, version, bytesMax: localBytesMax }, shipped, wallMs())
    const { entries, isPartial } = made
    if (entries > 0 && !room.isPartial) say({ kind: 'room', room: made })
    room.isPartial = isPartial
    if (isPartial) room.lookMs = monotonicMs() + STEP_MS
    // While there is more to ship, there will be more to remove.
    else if (entries === 0 && !more) room.lookMs += IN_VAIN_MS
  } catch (error) {
    room.isPartial = false
    room.lookMs += IN_VAIN_MS
    say({ kind: 'no room', why: postgresMessage(error) })
  }
}

async function serve(): Promise<void> {
  let failures = 0
  let checked = false
  for (;;) {
    try {
      await useNext()
      if (!checked) await opened().check()
      checked = true
      woken = false
      const more = await shipper.step()
      failures = 0
      tell(null)
      await clear(more)
      if (more) continue
      if (orders.draining) break
      await rest(LOOK_MS)
    } catch (error) {
      checked = false
      failures++
      const why = postgresMessage(error)
      shipper.forget()
      if (!(await waitOut(backoffMs(failures, Math.random()), why))) break
    }
  }
  shipper.close()
  await sink?.close()
  const port = parentPort
  port?.close()
}

parentPort?.on('message', (order: ShipOrder) => {
  if (order.kind === 'drain') orders.draining = true
  if (order.kind === 'sink') orders.next = order.sink
  woken = true
  wake?.()
})

void serve()
