import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import type { CallLoad, CallResult } from './call-load.ts'
import type { Child } from './child.ts'
import { pause } from './ipc.ts'
import type { Usage } from './probe.ts'
import { median, percentile } from './statistics.ts'
import { startBare, startGovernor, startLoad, startUpstream } from './targets.ts'
import { CALL_BODY, callHeaders, PATH } from './work.ts'

/** What a call costs: the same work through nothing, two bare forwarders and Governor, in turn. */

export const TARGETS = ['direct', 'bare', 'governor', 'control'] as const
export type Target = (typeof TARGETS)[number]

/** One target at one concurrency: medians over its slices. `added` is against direct, same round. */
export interface TargetFigures {
  readonly cpuUsPerCall: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly addedP50Ms: number
  readonly addedP99Ms: number
  readonly callsPerSecond: number
  readonly failed: number
}

export interface Level {
  readonly connections: number
  readonly rounds: number
  readonly targets: Readonly<Record<Target, TargetFigures>>
  /** Median of the rounds' CPU(governor) ÷ CPU(bare), and of CPU(control) ÷ CPU(bare). */
  readonly cpuRatio: number
  readonly controlRatio: number
  readonly cpuRatios: readonly number[]
  readonly controlRatios: readonly number[]
  /** Write and fsync of 1 KB, where the audit is, measured between the slices; null when not asked. */
  readonly fsyncP50Ms: number | null
}

export interface Overhead {
  readonly levels: readonly Level[]
  /** After all of it. */
  readonly rssBytes: Readonly<Record<Exclude<Target, 'direct'>, number>>
}

export interface OverheadPlan {
  readonly directory: string
  readonly levels: readonly { readonly connections: number; readonly rounds: number }[]
  readonly sliceMs: number
  readonly warmUpCalls: number
  readonly say: (text: string) => void
}

interface Slice extends CallResult {
  readonly cpuUs: number
}

type Round = Readonly<Record<Target, Slice>>

/** Governor's outcomes are written up to 100 ms after their calls: their cost belongs to the slice. */
const SETTLE_MS = 150
const FSYNC_BYTES = 1024
const FSYNCS_A_ROUND = 60

class Bench {
  readonly #children: Readonly<Record<Target, Child>>
  readonly #load: Child
  readonly #key: string

  constructor(children: Readonly<Record<Target, Child>>, load: Child, key: string) {
    this.#children = children
    this.#load = load
    this.#key = key
  }

  async slice(target: Target, connections: number, calls: number): Promise<Slice> {
    const child = this.#children[target]
    const load: CallLoad = {
      url: child.url + PATH,
      connections,
      calls,
      headers: callHeaders(this.#key),
      body: CALL_BODY,
    }
    const before = await child.ask<Usage>('usage')
    const result = await this.#load.ask<CallResult>('calls', load)
    await pause(SETTLE_MS)
    const after = await child.ask<Usage>('usage')
    if (result.failed > 0) throw new Error(`${target}: ${result.failed} of ${calls} calls failed`)
    return { ...result, cpuUs: after.cpuUs - before.cpuUs }
  }

  /** Calls that fill `sliceMs` at this concurrency, found by a slice that does not count. */
  async sized(
    connections: number,
    sliceMs: number,
    probe: number,
  ): Promise<Record<Target, number>> {
    const sizes = {} as Record<Target, number>
    for (const target of TARGETS) {
      const { callsPerSecond } = await this.slice(target, connections, probe)
      sizes[target] = Math.max(connections, Math.round((callsPerSecond * sliceMs) / 1000))
    }
    return sizes
  }

  async rss(target: Target): Promise<number> {
    return (await this.#children[target].ask<Usage>('usage')).rssBytes
  }
}

/** Runs everything; rejects when a process breaks or a call fails. */
export async function measureOverhead(plan: OverheadPlan): Promise<Overhead> {
  const children: Child[] = []
  const keep = (child: Child): Child => {
    children.push(child)
    return child
  }
  try {
    const upstream = keep(await startUpstream())
    const load = keep(await startLoad('call'))
    const bare = keep(await startBare('forwarder', upstream))
    const control = keep(await startBare('forwarder', upstream))
    const { child, key } = await startGovernor(upstream, plan.directory)
    const bench = new Bench({ direct: upstream, bare, control, governor: keep(child) }, load, key)
    plan.say('warming up')
    for (const target of TARGETS) {
      // One at a time first: a new key is verified with bcrypt, behind which only a few may wait.
      await bench.slice(target, 1, 10)
      await bench.slice(target, 32, plan.warmUpCalls)
    }
    const levels: Level[] = []
    for (const level of plan.levels) levels.push(await measureLevel(bench, plan, level))
    const rssBytes = {
      bare: await bench.rss('bare'),
      governor: await bench.rss('governor'),
      control: await bench.rss('control'),
    }
    return { levels, rssBytes }
  } finally {
    await Promise.all(children.map((child) => child.stop()))
  }
}

async function measureLevel(
  bench: Bench,
  plan: OverheadPlan,
  { connections, rounds }: OverheadPlan['levels'][number],
): Promise<Level> {
  const sizes = await bench.sized(connections, plan.sliceMs, connections * 30 + 100)
  const measured: Round[] = []
  const fsyncsMs: number[] = []
  for (let round = 0; round < rounds; round++) {
    plan.say(`c=${connections}, round ${round + 1} of ${rounds}`)
    const slices = {} as Record<Target, Slice>
    // Every round begins with another target, so that none is always the one after the same other.
    for (let turn = 0; turn < TARGETS.length; turn++) {
      const target = TARGETS[(round + turn) % TARGETS.length]!
      slices[target] = await bench.slice(target, connections, sizes[target])
    }
    measured.push(slices)
    if (connections === 1) fsyncsMs.push(...timeFsyncs(plan.directory))
  }
  return summarise(connections, measured, fsyncsMs)
}

function summarise(connections: number, rounds: Round[], fsyncsMs: number[]): Level {
  const cpu = (round: Round, target: Target): number => round[target].cpuUs / round[target].calls
  const over = (figure: (round: Round) => number): number => median(rounds.map(figure))
  const figures = (target: Target): TargetFigures => ({
    cpuUsPerCall: over((round) => cpu(round, target)),
    p50Ms: over((round) => round[target].p50Ms),
    p99Ms: over((round) => round[target].p99Ms),
    addedP50Ms: over((round) => round[target].p50Ms - round.direct.p50Ms),
    addedP99Ms: over((round) => round[target].p99Ms - round.direct.p99Ms),
    callsPerSecond: over((round) => round[target].callsPerSecond),
    failed: rounds.reduce((sum, round) => sum + round[target].failed, 0),
  })
  const ratios = (target: Target): number[] =>
    rounds.map((round) => cpu(round, target) / cpu(round, 'bare'))
  const [cpuRatios, controlRatios] = [ratios('governor'), ratios('control')]
  return {
    connections,
    rounds: rounds.length,
    targets: {
      direct: figures('direct'),
      bare: figures('bare'),
      governor: figures('governor'),
      control: figures('control'),
    },
    cpuRatio: median(cpuRatios),
    controlRatio: median(controlRatios),
    cpuRatios,
    controlRatios,
    fsyncP50Ms:
      fsyncsMs.length === 0
        ? null
        : percentile(
            fsyncsMs.sort((a, b) => a - b),
            50,
          ),
  }
}

/** One write of 1 KB at the end of a file and one fsync, again and again; milliseconds each. */
function timeFsyncs(directory: string): number[] {
  const file = openSync(join(directory, 'fsync-probe'), 'a')
  const bytes = Buffer.alloc(FSYNC_BYTES, 'x')
  try {
    return Array.from({ length: FSYNCS_A_ROUND }, () => {
      const startedMs = performance.now()
      writeSync(file, bytes)
      fsyncSync(file)
      return performance.now() - startedMs
    })
  } finally {
    closeSync(file)
  }
}
