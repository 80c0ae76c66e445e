import { Agent, request } from 'node:http'
import process from 'node:process'

import { answers, pause } from './ipc.ts'
import { percentile } from './statistics.ts'

/** The process that reads streams: many at once, each watched for its first byte and its gaps. */

export interface StreamLoad {
  readonly url: string
  readonly streams: number
  /** Streams begin evenly over this time. */
  readonly rampMs: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface StreamResult {
  readonly streams: number
  /** Not 200, broken off, or without `[DONE]` at the end. */
  readonly failed: number
  /** What the first failure was; null when there was none. */
  readonly failure: string | null
  readonly events: number
  readonly firstByteP50Ms: number
  readonly firstByteP99Ms: number
  /** The longest silence within each stream: the median stream's and the worst stream's. */
  readonly worstGapP50Ms: number
  readonly worstGapMaxMs: number
  /** From the provider's write of a chunk to its read here, over all chunks of all streams. */
  readonly delayP50Ms: number
  readonly delayP99Ms: number
  /** By how much the time between two chunks was another one here than at the provider. */
  readonly gapErrorP99Ms: number
}

interface Watched {
  readonly failure: string | null
  readonly events: number
  readonly firstByteMs: number
  readonly worstGapMs: number
}

/** Of all chunks of one question, ms. */
interface Delays {
  readonly all: number[]
  readonly gapErrors: number[]
}

/** What the provider writes into each chunk: when. */
const STAMP = /"id":"t(\d{16})"/g

const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
const DONE = 'data: [DONE]\n\n'

answers('streams', async (question): Promise<StreamResult> => {
  const load = question as StreamLoad
  const running: Promise<Watched>[] = []
  const delays: Delays = { all: [], gapErrors: [] }
  const startedMs = performance.now()
  for (let index = 0; index < load.streams; index++) {
    const dueMs = startedMs + (index * load.rampMs) / load.streams
    if (dueMs > performance.now()) await pause(dueMs - performance.now())
    running.push(watch(load, delays))
  }
  const watched = await Promise.all(running)
  const sorted = (figure: (one: Watched) => number): number[] =>
    watched.map(figure).sort((one, other) => one - other)
  const firstBytes = sorted(({ firstByteMs }) => firstByteMs)
  const gaps = sorted(({ worstGapMs }) => worstGapMs)
  const [all, gapErrors] = [delays.all, delays.gapErrors].map((each) =>
    each.sort((one, other) => one - other),
  ) as [number[], number[]]
  const failures = watched.filter(({ failure }) => failure !== null)
  return {
    streams: watched.length,
    failed: failures.length,
    failure: failures[0]?.failure ?? null,
    events: watched.reduce((sum, { events }) => sum + events, 0),
    firstByteP50Ms: percentile(firstBytes, 50),
    firstByteP99Ms: percentile(firstBytes, 99),
    worstGapP50Ms: percentile(gaps, 50),
    worstGapMaxMs: percentile(gaps, 100),
    delayP50Ms: percentile(all, 50),
    delayP99Ms: percentile(all, 99),
    gapErrorP99Ms: percentile(gapErrors, 99),
  }
})

function watch({ url, headers, body }: StreamLoad, delays: Delays): Promise<Watched> {
  return new Promise((resolve) => {
    const startedMs = performance.now()
    let [firstByteMs, lastMs, worstGapMs, events] = [0, 0, 0, 0]
    let tail = ''
    let lastDelayMs = Number.NaN
    const done = (failure: string | null): void =>
      resolve({ failure, events, firstByteMs, worstGapMs })
    const outgoing = request(url, { method: 'POST', agent, headers }, (incoming) => {
      incoming.setEncoding('latin1').on('data', (text: string) => {
        const nowMs = performance.now()
        if (firstByteMs === 0) firstByteMs = nowMs - startedMs
        else worstGapMs = Math.max(worstGapMs, nowMs - lastMs)
        lastMs = nowMs
        events++
        const nowUs = Number(process.hrtime.bigint() / 1000n)
        for (const [, stamp] of text.matchAll(STAMP)) {
          const delayMs = (nowUs - Number(stamp)) / 1000
          delays.all.push(delayMs)
          // The gap here less the one there is the delay of this chunk less that of the one before.
          if (!Number.isNaN(lastDelayMs)) delays.gapErrors.push(Math.abs(delayMs - lastDelayMs))
          lastDelayMs = delayMs
        }
        tail = (tail + text).slice(-DONE.length)
      })
      incoming.on('end', () => {
        if (incoming.statusCode !== 200) done(`status ${incoming.statusCode}`)
        else done(tail === DONE ? null : 'it ended without [DONE]')
      })
      incoming.on('error', (error) => done(error.message))
    })
    outgoing.on('error', (error) => done(error.message))
    outgoing.setHeader('content-length', Buffer.byteLength(body))
    outgoing.end(body)
  })
}
process.send!({ about: 'url', url: '' })
