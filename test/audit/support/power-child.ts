import { writeSync } from 'node:fs'

import { appendOnce } from '../../../src/audit/append-once.ts'
import { Seeded } from '../../support/seeded.ts'
import { decision, openWal, outcome } from './log.ts'

/**
 * One life of a sidecar's writer, short enough to be replayed call by call: it prints the id of each
 * entry once that was acknowledged. Arguments: path, prefix of the ids, seed, how many, how it ends.
 */
const [path = '', prefix = '', seed = '', count = '', end = ''] = process.argv.slice(2)
const random = new Seeded(Number(seed))
const records = Number(count)

function say(line: string): void {
  writeSync(1, `${line}\n`)
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}

// A disk that fails already now lets no sidecar start.
const wal = await openWal(path, { signs: true }).catch(() => process.exit(1))
let next = 0
const half = Math.floor(records / 2)

async function client(until: number): Promise<void> {
  while (next < until) {
    const id = `${prefix}-${next++}`
    try {
      await wal.record(decision(id, 'x'.repeat(random.between(0, 6000))))
    } catch {
      await pause(20)
      continue
    }
    say(id)
    if (random.next() < 0.7) wal.queue(outcome(id))
  }
}

function clients(until: number): Promise<unknown> {
  return Promise.all(Array.from({ length: 4 }, () => client(until)))
}

await clients(half)
// Long enough for the thread to have its quiet moment, in which it checkpoints.
if (random.next() < 0.6) await pause(1_300)
const about = `${prefix}-command`
try {
  appendOnce(path, 'test', [{ kind: 'admin', body: `{"kind":"admin","action":"${about}"}` }])
  say(about)
} catch {
  // Refused, so nothing was promised.
}
await clients(records)
if (end === 'close') await wal.close()
else process.kill(process.pid, 'SIGKILL')
