import type { PoolClient } from 'pg'

import { everyEntry } from './postgres-rows.ts'
import { inSnapshot } from './postgres.ts'
import { retentionsIn } from './retention.ts'
import { headKey, type RemoteSource, verifySource } from './verify-remote.ts'
import type { VerifyOptions, VerifyResult } from './verify-types.ts'

const STATEMENT_MS = 60_000
/** Entries asked for in one question. */
const HEADS_MAX = 1_000

const HEADS = 'SELECT writer_id, epoch, last_seq, last_hash FROM governor.writers'
const RETENTIONS = "SELECT body FROM governor.entries WHERE kind = 'retention'"
const HASHES = `
  SELECT writer_id, epoch, seq, hash
  FROM unnest($1::bytea[], $2::integer[], $3::bigint[]) AS asked (writer_id, epoch, seq)
  JOIN (
    SELECT writer_id, epoch, seq, hash FROM governor.entries
    UNION ALL
    SELECT writer_id, epoch, seq, hash FROM governor.dead_letters
  ) AS every USING (writer_id, epoch, seq)`

/**
 * Verifies what PostgreSQL holds, of all writers, in one moment of it; see `verifySource`. Rejects with
 * the server's error.
 */
export async function verifyPostgres(url: string, options: VerifyOptions): Promise<VerifyResult> {
  return inSnapshot(url, STATEMENT_MS, (client) => verifySource(postgresSource(client), options))
}

function postgresSource(client: PoolClient): RemoteSource {
  return {
    name: 'postgres',
    rows: () => everyEntry(client),
    retentions: async () => {
      const { rows } = await client.query<{ body: Buffer }>(RETENTIONS)
      return rows.flatMap(({ body }) => retentionsIn(body))
    },
    heads: async () => {
      const { rows } = await client.query<{
        writer_id: Buffer
        epoch: number
        last_seq: string
        last_hash: Buffer
      }>(HEADS)
      return rows.map(({ writer_id, epoch, last_seq, last_hash }) => ({
        writer_id: writer_id.toString('hex'),
        epoch,
        seq: Number(last_seq),
        hash: last_hash.toString('hex'),
      }))
    },
    hashes: async (heads) => {
      const found = new Map<string, string>()
      for (let at = 0; at < heads.length; at += HEADS_MAX) {
        const asked = heads.slice(at, at + HEADS_MAX)
        const { rows } = await client.query<{
          writer_id: Buffer
          epoch: number
          seq: string
          hash: Buffer
        }>(HASHES, [
          asked.map(({ writer_id }) => Buffer.from(writer_id, 'hex')),
          asked.map(({ epoch }) => epoch),
          asked.map(({ seq }) => seq),
        ])
        for (const { writer_id, epoch, seq, hash } of rows) {
          const place = { writer_id: writer_id.toString('hex'), epoch, seq: Number(seq) }
          found.set(headKey(place), hash.toString('hex'))
        }
      }
      return found
    },
  }
}
