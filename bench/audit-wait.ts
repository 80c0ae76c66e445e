import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { TextEntry } from '../src/audit/batch.ts'
import { Wal } from '../src/audit/wal.ts'
import { percentile } from './statistics.ts'

/** How long an entry waits for the disk at a load the log could take twice. */
export interface Waited {
  readonly entriesPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** 1 KB appended to a file and synced, in the same directory. */
  readonly fsyncP99Ms: number
}

export interface WaitPlan {
  readonly directory: string
  readonly entriesPerSecond: number
  readonly forMs: number
  readonly bodyOf: (seq: number) => string
}

/** The finest a timer has. What is due comes in one turn of the loop, as calls that were read in one turn do. */
const TICK_MS = 1
/** Offered before what counts: V8 compiles the thread's code meanwhile, and there is a file to write over. */
const WARM_UP_MS = 1_000
/** Bodies are made before: what that costs is not a wait for the disk. */
const BODIES = 1_024
const SYNCS = 400
const SYNC_BYTES = 1_024

/**
 * Offers entries at an even rate, whether or not those before are on the disk, and syncs before and behind.
 * A second of the same goes before.
 */
export async function measureWait(plan: WaitPlan): Promise<Waited> {
  const { directory, forMs } = plan
  const path = join(directory, 'wait.db')
  const syncs = syncTimes(directory)
  const wal = await Wal.open({
    path,
    localBytesMax: 2 ** 32,
    commitMs: 60_000,
    version: 'bench',
    exclusive: true,
    signs: true,
  })
  await offer(wal, { ...plan, forMs: WARM_UP_MS })
  const waits = await offer(wal, plan)
  await wal.close()
  syncs.push(...syncTimes(directory))
  for (const suffix of ['', '-wal', '-shm', '.lock', '.key', '.keys.json']) {
    rmSync(path + suffix, { force: true })
  }
  const [sorted, sync] = [waits, syncs].map((each) => each.toSorted((a, b) => a - b))
  return {
    entriesPerSecond: waits.length / (forMs / 1000),
    p50Ms: percentile(sorted ?? [], 50),
    p99Ms: percentile(sorted ?? [], 99),
    fsyncP99Ms: percentile(sync ?? [], 99),
  }
}

/** What each entry waited, in milliseconds. */
async function offer(wal: Wal, { entriesPerSecond, forMs, bodyOf }: WaitPlan): Promise<number[]> {
  const entries = Array.from({ length: BODIES }, (_, seq) => entryOf(seq, bodyOf))
  const waits: number[] = []
  let failure: unknown = null
  const startedMs = performance.now()
  let made = 0
  for (;;) {
    const passedMs = performance.now() - startedMs
    if (passedMs >= forMs) break
    const due = Math.floor((passedMs / 1000) * entriesPerSecond)
    for (; made < due; made++) {
      waitOf(wal, entries[made % BODIES]!, waits).catch((error: unknown) => (failure = error))
    }
    await sleep(TICK_MS)
  }
  await wal.flush()
  if (failure !== null || waits.length !== made) {
    throw new Error(`${waits.length} of ${made} entries are on the disk`, { cause: failure })
  }
  return waits
}

async function waitOf(wal: Wal, entry: TextEntry, waits: number[]): Promise<void> {
  const startedMs = performance.now()
  await wal.record(entry)
  waits.push(performance.now() - startedMs)
}

/** A refusal, so that no outcome has to follow. */
function entryOf(seq: number, bodyOf: WaitPlan['bodyOf']): TextEntry {
  const body = bodyOf(seq)
  const { request_id: requestId } = JSON.parse(body) as { request_id: string }
  const occurredAtUs = 1_790_000_000_000_000 + seq
  return { kind: 'decision', requestId, occurredAtUs, awaitsOutcome: false, body }
}

function syncTimes(directory: string): number[] {
  const file = join(directory, 'synced')
  const descriptor = openSync(file, 'a')
  const bytes = Buffer.alloc(SYNC_BYTES, 120)
  const times: number[] = []
  for (let sync = 0; sync < SYNCS; sync++) {
    const startedMs = performance.now()
    writeSync(descriptor, bytes)
    fsyncSync(descriptor)
    times.push(performance.now() - startedMs)
  }
  closeSync(descriptor)
  rmSync(file)
  return times
}
