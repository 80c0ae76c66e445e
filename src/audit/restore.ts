import type { Pool } from 'pg'

import { restoreBundle } from './bundle.ts'
import type { RemoteRow } from './postgres-rows.ts'
import { checkSchema, closePool, openPool } from './postgres.ts'
import { bundleSource, isRemoteBundle } from './remote-bundle.ts'
import { toShipRow } from './ship-source.ts'
import { chainName, NOTHING_YET, type Sink } from './ship-types.ts'
import { Shipper } from './shipper.ts'
import { PostgresSink } from './sink-postgres.ts'
import { keyOf } from './verify-chain.ts'

/** A bundle put into PostgreSQL: by the same statements as shipping, so with the same promises. */

/** Entries in one batch, and the bytes of their bodies together. */
const ROWS_MAX = 500
const BYTES_MAX = 1024 * 1024

/** What was restored. */
export interface RestoredThere {
  readonly entries: number
  readonly chains: number
}

/**
 * Puts a bundle, of a log or of PostgreSQL, into the empty database at `url`; tells `onRows` of entries that
 * are there. Rejects with an Error: a database that is not migrated or not empty, a bundle that is none,
 * cut short, or has a chain that cannot be kept, or what the server says.
 */
export async function restoreInto(
  url: string,
  file: string,
  onRows: (rows: number) => void,
): Promise<RestoredThere> {
  const isRemote = await isRemoteBundle(file)
  const pool = openPool(url)
  try {
    await checkSchema(pool)
    await refuseOthers(pool)
  } finally {
    await closePool(pool)
  }
  const sink = new PostgresSink(url)
  try {
    return isRemote ? await putRows(file, sink, onRows) : await shipFiles(file, sink, onRows)
  } finally {
    await sink.close()
  }
}

async function refuseOthers(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ empty: boolean }>(`
    SELECT NOT EXISTS (SELECT FROM governor.writers) AND NOT EXISTS (SELECT FROM governor.entries)
      AND NOT EXISTS (SELECT FROM governor.dead_letters) AS empty`)
  if (rows[0]?.empty === true) return
  throw new Error(
    'The database has entries: restore into an empty one, which governor migrate makes. After a restore ' +
      'that was cut off: DROP SCHEMA governor CASCADE, then governor migrate',
  )
}

/** The files of a log, which know what was pruned and where chains were cut. */
async function shipFiles(
  file: string,
  sink: Sink,
  onRows: (rows: number) => void,
): Promise<RestoredThere> {
  const log = await restoreBundle(file)
  let entries = 0
  const chains = new Set<string>()
  const counted: Sink = {
    check: () => sink.check(),
    heads: (asked) => sink.heads(asked),
    close: () => sink.close(),
    put: async (batch) => {
      const taken = await sink.put(batch)
      if (taken.kind === 'taken') {
        entries += batch.rows.length
        chains.add(chainName(batch.chain))
        onRows(batch.rows.length)
      }
      return taken
    },
  }
  const shipper = new Shipper({
    path: log.path,
    sink: counted,
    onFork: ({ chain, what }) => {
      throw new Error(`Chain ${chain} of the bundle cannot be restored: ${what}`)
    },
    onHead: () => {},
    onDead: () => {},
  })
  try {
    while (await shipper.step());
    return { entries, chains: chains.size }
  } finally {
    shipper.close()
    log.remove()
  }
}

/** What came from PostgreSQL, chain by chain as it was there. */
async function putRows(
  file: string,
  sink: Sink,
  onRows: (rows: number) => void,
): Promise<RestoredThere> {
  let entries = 0
  let chains = 0
  let batch: RemoteRow[] = []
  let bytes = 0
  let after = NOTHING_YET
  const flush = async () => {
    const [first, last] = [batch[0], batch.at(-1)]
    if (first === undefined || last === undefined) return
    const { writerId, epoch } = first
    const taken = await sink.put({ chain: { writerId, epoch }, after, rows: batch.map(toShipRow) })
    if (taken.kind !== 'taken') {
      const chain = keyOf(writerId.toString('hex'), epoch)
      throw new Error(`Chain ${chain} of the bundle cannot be restored: ${whyNot(taken)}`)
    }
    after = { seq: last.seq, hash: last.hash }
    entries += batch.length
    onRows(batch.length)
    batch = []
    bytes = 0
  }
  let former: RemoteRow | null = null
  for await (const row of bundleSource(file).rows()) {
    const isNext = former !== null && isOfChain(former, row)
    if (!isNext || batch.length >= ROWS_MAX || bytes >= BYTES_MAX) await flush()
    if (!isNext) {
      after = NOTHING_YET
      chains++
    }
    batch.push(row)
    bytes += row.body.length
    former = row
  }
  await flush()
  return { entries, chains }
}

function whyNot(taken: { readonly kind: string; readonly why?: string }): string {
  if (taken.why !== undefined) return taken.why
  return taken.kind === 'elsewhere'
    ? 'it is in the bundle twice'
    : 'an entry of it is there already'
}

function isOfChain(a: RemoteRow, b: RemoteRow): boolean {
  return a.epoch === b.epoch && a.writerId.equals(b.writerId)
}
