import { type Checkpoint, type Note, originOf, parseNote } from './note.ts'
import { inSnapshot } from './postgres.ts'
import { parseBody } from './verify-chain.ts'

const STATEMENT_MS = 60_000
const ROWS_A_READ = 1_000
/** Of PostgreSQL's integer: nothing is in front of it. */
const EPOCH_LEAST = -(2 ** 31)

/** Longer than any checkpoint of ours. */
const BODY_BYTES_MAX = 16 * 1024

/**
 * By the primary key, from the end of each chain backwards to its last checkpoint. Bodies are read here and
 * not by the server: one that is no JSON would end the question about all writers, and name none.
 */
const LATEST = `
  SELECT writer_id, epoch, seq,
    CASE WHEN octet_length(body) <= ${BODY_BYTES_MAX} THEN body END AS body
  FROM governor.writers, LATERAL (
    SELECT seq, body FROM governor.entries
    WHERE entries.writer_id = writers.writer_id AND entries.epoch = writers.epoch
      AND kind = 'checkpoint'
    ORDER BY seq DESC LIMIT 1
  ) AS latest
  WHERE (writer_id, epoch) > ($1::bytea, $2::integer)
  ORDER BY writer_id, epoch LIMIT $3`

/** What PostgreSQL holds of the checkpoints of all writers. */
export interface LatestCheckpoints {
  /** The last checkpoint of each chain that has one, by origin. */
  readonly checkpoints: ReadonlyMap<string, Checkpoint>
  /** Chains whose last checkpoint is none of theirs. */
  readonly strange: readonly string[]
}

/** Reads the last checkpoint of each chain, in one moment of the database. Rejects with the server's error. */
export async function latestCheckpoints(url: string): Promise<LatestCheckpoints> {
  return inSnapshot(url, STATEMENT_MS, async (client) => {
    const checkpoints = new Map<string, Checkpoint>()
    const strange: string[] = []
    let place: readonly unknown[] = [Buffer.alloc(0), EPOCH_LEAST]
    for (;;) {
      const { rows } = await client.query<{
        writer_id: Buffer
        epoch: number
        seq: string
        body: Buffer | null
      }>(LATEST, [...place, ROWS_A_READ])
      for (const { writer_id, epoch, seq, body } of rows) {
        place = [writer_id, epoch]
        const origin = originOf(writer_id.toString('hex'), epoch)
        const read = noteIn(body)
        // Whether it is signed is for who has the pod's keys; that it stands where it says is for all.
        const isOwn = read !== null && read.origin === origin && read.size === Number(seq) - 1
        if (isOwn) checkpoints.set(origin, { origin, size: read.size, root: read.root })
        else strange.push(origin)
      }
      if (rows.length < ROWS_A_READ) return { checkpoints, strange }
    }
  })
}

/** The note of an entry `checkpoint`; null where there is none. */
function noteIn(body: Buffer | null): Note | null {
  const note = body === null ? undefined : parseBody(body)?.note
  return typeof note === 'string' ? parseNote(note) : null
}
