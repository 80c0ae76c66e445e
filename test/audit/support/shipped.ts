import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { appendOnce } from '../../../src/audit/append-once.ts'
import { migrate } from '../../../src/audit/migrate.ts'
import { Shipper } from '../../../src/audit/shipper.ts'
import { PostgresSink } from '../../../src/audit/sink-postgres.ts'
import { freshDatabase } from '../../support/postgres.ts'
import { decision, openWal, outcome } from './log.ts'

/** Logs of several pods, and a database they were shipped to. */

export const NOW_MS = Date.UTC(2026, 10, 21)

/** Ships a log to its end. */
export async function ship(url: string, path: string): Promise<void> {
  const sink = new PostgresSink(url)
  const shipper = new Shipper({
    path,
    sink,
    onFork: (fork) => {
      throw new Error(fork.what)
    },
    onDead: () => {},
    onHead: () => {},
  })
  while (await shipper.step());
  shipper.close()
  await sink.close()
}

/** One sidecar's life: opens, records calls, signs, closes. */
export async function record(path: string, calls: number): Promise<void> {
  const wal = await openWal(path, { signs: true })
  for (let call = 0; call < calls; call++) {
    const id = `${path}-${Math.random()}`.slice(-100)
    await wal.record(decision(id))
    wal.queue(outcome(id))
  }
  await wal.close()
}

/** A migrated database that holds nothing. */
export async function emptyDatabase(t: {
  teardown(after: () => unknown): unknown
}): Promise<string> {
  const url = await freshDatabase(t)
  await migrate(url, NOW_MS)
  return url
}

/** Two pods' logs in `directory`, both shipped; the second has an entry that is kept as bytes. */
export async function twoPods(directory: string, url: string): Promise<[string, string]> {
  const paths = ['one', 'two'].map((name) => {
    mkdirSync(join(directory, name), { recursive: true })
    return join(directory, name, 'audit.db')
  }) as [string, string]
  for (const path of paths) {
    await record(path, 8)
    const body = JSON.stringify({ kind: 'admin', request_id: '', note: 'a\0b' })
    if (path === paths[1]) appendOnce(path, 'test', [{ kind: 'admin', body }])
    await record(path, 3)
    await ship(url, path)
  }
  return paths
}
