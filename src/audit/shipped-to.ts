import { epochFiles } from './file.ts'
import type { UpTo } from './prune.ts'
import { LogFile } from './ship-source.ts'
import type { ChainId, Sink } from './ship-types.ts'
import { chainName } from './ship-types.ts'

/** Chains asked about in one question. */
const CHAINS_MAX = 500

/** Asks where all chains of the log at `path` stand. Rejects with SQLite's errors, or the sink's. */
export async function shippedTo(path: string, sink: Sink): Promise<UpTo> {
  const chains = epochFiles(path).flatMap((each): ChainId[] => {
    const file = new LogFile(each)
    try {
      return file.chains()
    } finally {
      file.close()
    }
  })
  const stand = new Map<string, number>()
  for (let at = 0; at < chains.length; at += CHAINS_MAX) {
    const asked = chains.slice(at, at + CHAINS_MAX)
    const heads = await sink.heads(asked)
    asked.forEach((chain, index) => stand.set(chainName(chain), heads[index]?.seq ?? 0))
  }
  return (writer, epoch) => stand.get(`${writer}:${epoch}`) ?? 0
}
