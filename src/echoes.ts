import type { Snapshot } from './config/snapshot.ts'
import { EchoUpstream, parseEchoUrl } from './upstream/echo.ts'
import type { Closable } from './world.ts'

/** The built-in upstreams that run in this process, each with a listener of its own. */
export class Echoes {
  readonly #running = new Map<string, EchoUpstream>()

  /** Where the echo of an `echo:` address listens; it is started when it is asked for first. */
  async url(address: string): Promise<string> {
    let echo = this.#running.get(address)
    if (echo === undefined) {
      echo = new EchoUpstream(parseEchoUrl(address))
      await echo.open()
      this.#running.set(address, echo)
    }
    return echo.url
  }

  /** Gives up those that no upstream asks any more; wanted again, one is started anew, at another port. */
  dropped({ upstreams }: Pick<Snapshot, 'upstreams'>): Closable[] {
    const wanted = new Set(upstreams.map(({ url }) => url))
    const dropped: Closable[] = []
    for (const [address, echo] of this.#running) {
      if (wanted.has(address)) continue
      this.#running.delete(address)
      dropped.push({ destroy: () => echo.close() })
    }
    return dropped
  }

  /** Ends all of them. */
  async close(): Promise<void> {
    await Promise.all([...this.#running.values()].map((echo) => echo.close()))
  }
}
