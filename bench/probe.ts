import { monitorEventLoopDelay } from 'node:perf_hooks'
import process from 'node:process'
import { isMainThread } from 'node:worker_threads'

/**
 * Loaded into every process of the bench with `--import`: says what the process has used so far.
 * The same few lines run in Governor and in the bare forwarder, so they cancel out.
 */

/** What a process used. CPU is user and system time of all its threads. */
export interface Usage {
  readonly cpuUs: number
  readonly rssBytes: number
}

/** Event loop delay since `delay-start`, as monitorEventLoopDelay gives it, its timer included. */
export interface Delay {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Period of the timer that is watched; a loop without any delay shows this. */
export const DELAY_RESOLUTION_MS = 1

if (isMainThread && process.send !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  process.on('message', ({ ask }: { ask?: string }) => {
    if (ask === 'usage') {
      const { user, system } = process.cpuUsage()
      const usage: Usage = { cpuUs: user + system, rssBytes: process.memoryUsage.rss() }
      process.send!({ about: 'usage', ...usage })
    } else if (ask === 'collect') {
      globalThis.gc?.()
      process.send!({ about: 'collect' })
    } else if (ask === 'delay-start') {
      delay.reset()
      delay.enable()
      process.send!({ about: 'delay-start' })
    } else if (ask === 'delay-stop') {
      delay.disable()
      const said: Delay = {
        p50Ms: delay.percentile(50) / 1e6,
        p99Ms: delay.percentile(99) / 1e6,
        maxMs: delay.max / 1e6,
      }
      process.send!({ about: 'delay-stop', ...said })
    }
  })
  // When the bench itself dies nothing of it stays behind.
  process.on('disconnect', () => process.exit(1))
  // The listener must not keep a process alive that is done.
  process.channel?.unref()
}
