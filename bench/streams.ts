import type { Child } from './child.ts'
import { pause } from './ipc.ts'
import type { Delay, Usage } from './probe.ts'
import { median } from './statistics.ts'
import type { StreamLoad, StreamResult } from './stream-load.ts'
import { startBare, startGovernor, startLoad, startUpstream } from './targets.ts'
import { callHeaders, PATH, STREAM_BODY } from './work.ts'

/** What streams feel: a few at an even pace, then very many for a minute, through both proxies. */

export const STREAM_TARGETS = ['direct', 'bare', 'governor'] as const
export type StreamTarget = (typeof STREAM_TARGETS)[number]
export type StreamFigures = Pick<
  StreamResult,
  | 'firstByteP50Ms'
  | 'firstByteP99Ms'
  | 'worstGapP50Ms'
  | 'worstGapMaxMs'
  | 'delayP50Ms'
  | 'delayP99Ms'
  | 'gapErrorP99Ms'
>

/** Many streams at once through one proxy. */
export interface ManyStreams extends StreamResult {
  /** Event loop delay of the proxy while all streams were open, its timer's 1 ms included. */
  readonly delay: Delay
  /** Before the first of them. */
  readonly rssIdleBytes: number
  readonly rssEarlyBytes: number
  readonly rssLateBytes: number
  readonly cpuShare: number
}

/** Resident memory that one of many streams adds. */
export function bytesPerStream({ rssEarlyBytes, rssIdleBytes, streams }: ManyStreams): number {
  return (rssEarlyBytes - rssIdleBytes) / streams
}

export interface Streams {
  readonly few: {
    readonly streams: number
    readonly paceMs: number
    readonly rounds: number
    /** Medians over the rounds, except the worst gap, which is the worst of all. */
    readonly targets: Readonly<Record<StreamTarget, StreamFigures>>
  }
  readonly many: {
    readonly streams: number
    readonly paceMs: number
    readonly earlyMs: number
    readonly lateMs: number
    readonly bare: ManyStreams
    readonly governor: ManyStreams
  }
}

export interface StreamsPlan {
  readonly directory: string
  readonly warmUps: number
  readonly rounds: number
  readonly few: number
  readonly many: number
  /** When RSS is read, after all streams are open: first early, then late. */
  readonly earlyMs: number
  readonly lateMs: number
  readonly say: (text: string) => void
}

const FEW_PACE = { chunks: 40, paceMs: 25 }
const MANY_PACE_MS = 1250
/** New connections are no part of what is measured, so they come slowly: 250 a second. */
const RAMP_MS_PER_STREAM = 4

class Bench {
  readonly #children: Readonly<Record<StreamTarget, Child>>
  readonly #load: Child
  readonly #key: string
  readonly #plan: StreamsPlan

  constructor(
    children: Readonly<Record<StreamTarget, Child>>,
    load: Child,
    key: string,
    plan: StreamsPlan,
  ) {
    this.#children = children
    this.#load = load
    this.#key = key
    this.#plan = plan
  }

  async run(target: StreamTarget, streams: number, rampMs: number): Promise<StreamResult> {
    const { url } = this.#children[target]
    const load: StreamLoad = {
      url: url + PATH,
      streams,
      rampMs,
      headers: callHeaders(this.#key),
      body: STREAM_BODY,
    }
    return this.#load.ask<StreamResult>('streams', load)
  }

  pace(chunks: number, paceMs: number): Promise<unknown> {
    return this.#children.direct.ask('pace', { chunks, paceMs })
  }

  async many(target: 'bare' | 'governor'): Promise<ManyStreams> {
    const { many, earlyMs, lateMs } = this.#plan
    const child = this.#children[target]
    const rampMs = many * RAMP_MS_PER_STREAM
    // Long enough that the first stream is still open when RSS is read for the last time.
    const lastsMs = rampMs + lateMs + 1000
    await this.pace(Math.ceil(lastsMs / MANY_PACE_MS), MANY_PACE_MS)
    const idle = await child.ask<Usage>('usage')
    const running = this.run(target, many, rampMs)
    await pause(rampMs + 500)
    await child.ask('delay-start')
    const before = await child.ask<Usage>('usage')
    await pause(earlyMs - 500)
    const early = await child.ask<Usage>('usage')
    await pause(lateMs - earlyMs)
    const late = await child.ask<Usage>('usage')
    const delay = await child.ask<Delay>('delay-stop')
    return {
      ...(await running),
      delay: { p50Ms: delay.p50Ms, p99Ms: delay.p99Ms, maxMs: delay.maxMs },
      rssIdleBytes: idle.rssBytes,
      rssEarlyBytes: early.rssBytes,
      rssLateBytes: late.rssBytes,
      cpuShare: (late.cpuUs - before.cpuUs) / 1000 / (lateMs - 500),
    }
  }
}

/** Runs everything; rejects when a process breaks or one of the few streams fails. */
export async function measureStreams(plan: StreamsPlan): Promise<Streams> {
  const children: Child[] = []
  const keep = (child: Child): Child => {
    children.push(child)
    return child
  }
  try {
    const upstream = keep(await startUpstream())
    const load = keep(await startLoad('stream'))
    const bare = keep(await startBare('streamer', upstream))
    const { child, key } = await startGovernor(upstream, plan.directory)
    const bench = new Bench({ direct: upstream, bare, governor: keep(child) }, load, key, plan)
    const few = await measureFew(bench, plan)
    plan.say(`${plan.many} streams through the bare forwarder`)
    const manyBare = await bench.many('bare')
    plan.say(`${plan.many} streams through Governor`)
    const manyGovernor = await bench.many('governor')
    const { many, earlyMs, lateMs } = plan
    const common = { streams: many, paceMs: MANY_PACE_MS, earlyMs, lateMs }
    return { few, many: { ...common, bare: manyBare, governor: manyGovernor } }
  } finally {
    await Promise.all(children.map((child) => child.stop()))
  }
}

async function measureFew(bench: Bench, plan: StreamsPlan): Promise<Streams['few']> {
  await bench.pace(5, 5)
  for (const target of STREAM_TARGETS) {
    // The first call verifies the key with bcrypt; the others compile what streams need.
    await bench.run(target, 1, 0)
    for (let turn = 0; turn < plan.warmUps; turn++) await bench.run(target, 20, 20)
  }
  await bench.pace(FEW_PACE.chunks, FEW_PACE.paceMs)
  const results: Record<StreamTarget, StreamResult[]> = { direct: [], bare: [], governor: [] }
  for (let round = 0; round < plan.rounds; round++) {
    plan.say(`${plan.few} streams, round ${round + 1} of ${plan.rounds}`)
    for (let turn = 0; turn < STREAM_TARGETS.length; turn++) {
      const target = STREAM_TARGETS[(round + turn) % STREAM_TARGETS.length]!
      const result = await bench.run(target, plan.few, FEW_PACE.paceMs)
      if (result.failed > 0) throw new Error(`${target}: a stream failed, ${result.failure}`)
      results[target].push(result)
    }
  }
  const figures = (target: StreamTarget): StreamFigures => {
    const over = (figure: keyof StreamFigures): number =>
      median(results[target].map((result) => result[figure]))
    return {
      firstByteP50Ms: over('firstByteP50Ms'),
      firstByteP99Ms: over('firstByteP99Ms'),
      worstGapP50Ms: over('worstGapP50Ms'),
      delayP50Ms: over('delayP50Ms'),
      delayP99Ms: over('delayP99Ms'),
      gapErrorP99Ms: over('gapErrorP99Ms'),
      worstGapMaxMs: Math.max(...results[target].map(({ worstGapMaxMs }) => worstGapMaxMs)),
    }
  }
  return {
    streams: plan.few,
    paceMs: FEW_PACE.paceMs,
    rounds: plan.rounds,
    targets: { direct: figures('direct'), bare: figures('bare'), governor: figures('governor') },
  }
}
