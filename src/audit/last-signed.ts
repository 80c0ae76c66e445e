import { epochFiles, openForReading } from './file.ts'

/**
 * When the log at `path` says it was signed last, milliseconds since 1970; 0 when never. Later than now where
 * the clock was set back since. Throws SQLite's errors.
 */
export function lastSignedMs(path: string): number {
  let lastUs = 0
  for (const file of epochFiles(path)) {
    const db = openForReading(file.path)
    try {
      const us = db
        .prepare<[], number | null>(
          "SELECT max(occurred_at) FROM entries WHERE kind = 'checkpoint'",
        )
        .pluck()
        .get()
      lastUs = Math.max(lastUs, us ?? 0)
    } finally {
      db.close()
    }
  }
  return Math.ceil(lastUs / 1000)
}
