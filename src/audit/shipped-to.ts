import { epochFiles } from './file.ts'
import type { UpTo } from './prune.ts'
import { LogFile } from './ship-source.ts'
import type { Sink } from './ship-types.ts'
import { chainName } from './ship-types.ts'

/** Chains asked about in one question. */
const CHAINS_MAX = 500

/**
 * Asks how far the chains of the log at `path` have arrived. A head counts only where it is the hash of our
 * entry there: a place that names another one has another history, or was written to by somebody else, and
 * nothing may be removed on its word. Rejects with SQLite's errors, or the sink's.
 */
export async function shippedTo(path: string, sink: Sink): Promise<UpTo> {
  const stand = new Map<string, number>()
  for (const each of epochFiles(path)) {
    const file = new LogFile(each)
    try {
      await askOf(file, sink, stand)
    } finally {
      file.close()
    }
  }
  return (writer, epoch) => stand.get(`${writer}:${epoch}`) ?? 0
}

async function askOf(file: LogFile, sink: Sink, stand: Map<string, number>): Promise<void> {
  const chains = file.chains()
  for (let at = 0; at < chains.length; at += CHAINS_MAX) {
    const asked = chains.slice(at, at + CHAINS_MAX)
    const heads = await sink.heads(asked)
    asked.forEach((chain, index) => {
      const head = heads[index] ?? null
      if (head !== null && file.hashAt(chain, head.seq)?.equals(head.hash) === true) {
        stand.set(chainName(chain), head.seq)
      }
    })
  }
}
