import process from 'node:process'

import autocannon from 'autocannon'

import { answers } from './ipc.ts'
import { percentile } from './statistics.ts'

/** The process that calls: autocannon, a fixed number of calls over a fixed number of connections. */

export interface CallLoad {
  readonly url: string
  readonly connections: number
  /** Calls to make; every one is answered before the slice ends, so none is cut off half way. */
  readonly calls: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface CallResult {
  readonly calls: number
  /** Not answered with 200. */
  readonly failed: number
  readonly durationMs: number
  readonly callsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** autocannon looks this often whether it is done. */
const SAMPLE_MS = 20

answers('calls', async (question): Promise<CallResult> => {
  const load = question as CallLoad
  const times: number[] = []
  const startedMs = performance.now()
  let endedMs = startedMs
  // autocannon's own latencies are whole milliseconds; these are not.
  const onResponse = (_client: unknown, _status: number, _bytes: number, timeMs: number): void => {
    times.push(timeMs)
    endedMs = performance.now()
  }
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const { url, connections, calls: amount, headers, body } = load
    const options = { url, connections, amount, method: 'POST' as const, headers, body }
    const running = autocannon({ ...options, sampleInt: SAMPLE_MS }, (error, ended) =>
      error === null ? resolve(ended) : reject(error),
    )
    running.on('response', onResponse)
  })
  times.sort((one, other) => one - other)
  const durationMs = endedMs - startedMs
  return {
    calls: times.length,
    failed: load.calls - result['2xx'],
    durationMs,
    callsPerSecond: (times.length / durationMs) * 1000,
    p50Ms: percentile(times, 50),
    p99Ms: percentile(times, 99),
  }
})
process.send!({ about: 'url', url: '' })
