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
}

interface Watched {
  readonly failure: string | null
  readonly events: number
  readonly firstByteMs: number
  readonly worstGapMs: number
}

const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
const DONE = 'data: [DONE]\n\n'

answers('streams', async (question): Promise<StreamResult> => {
  const load = question as StreamLoad
  const running: Promise<Watched>[] = []
  const startedMs = performance.now()
  for (let index = 0; index < load.streams; index++) {
    const dueMs = startedMs + (index * load.rampMs) / load.streams
    if (dueMs > performance.now()) await pause(dueMs - performance.now())
    running.push(watch(load))
  }
  const watched = await Promise.all(running)
  const sorted = (figure: (one: Watched) => number): number[] =>
    watched.map(figure).sort((one, other) => one - other)
  const firstBytes = sorted(({ firstByteMs }) => firstByteMs)
  const gaps = sorted(({ worstGapMs }) => worstGapMs)
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
  }
})

function watch({ url, headers, body }: StreamLoad): Promise<Watched> {
  return new Promise((resolve) => {
    const startedMs = performance.now()
    let [firstByteMs, lastMs, worstGapMs, events] = [0, 0, 0, 0]
    let tail = ''
    const done = (failure: string | null): void =>
      resolve({ failure, events, firstByteMs, worstGapMs })
    const outgoing = request(url, { method: 'POST', agent, headers }, (incoming) => {
      incoming.setEncoding('latin1').on('data', (text: string) => {
        const nowMs = performance.now()
        if (firstByteMs === 0) firstByteMs = nowMs - startedMs
        else worstGapMs = Math.max(worstGapMs, nowMs - lastMs)
        lastMs = nowMs
        events++
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
