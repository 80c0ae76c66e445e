import { type Checkpoint, originOf, parseNote } from './note.ts'
import { inSnapshot } from './postgres.ts'

const STATEMENT_MS = 60_000
const ROWS_A_READ = 1_000
/** Of PostgreSQL's integer: nothing is in front of it. */
const EPOCH_LEAST = -(2 ** 31)

/** By the primary key, from the end of each chain backwards to its last checkpoint. */
const LATEST = `
  SELECT writer_id, epoch, seq, convert_from(body, 'UTF8')::jsonb ->> 'note' AS note
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
        note: string | null
      }>(LATEST, [...place, ROWS_A_READ])
      for (const { writer_id, epoch, seq, note } of rows) {
        place = [writer_id, epoch]
        const origin = originOf(writer_id.toString('hex'), epoch)
        const read = note === null ? null : parseNote(note)
        // Whether it is signed is for who has the pod's keys; that it stands where it says is for all.
        const isOwn = read !== null && read.origin === origin && read.size === Number(seq) - 1
        if (isOwn) checkpoints.set(origin, { origin, size: read.size, root: read.root })
        else strange.push(origin)
      }
      if (rows.length < ROWS_A_READ) return { checkpoints, strange }
    }
  })
}
