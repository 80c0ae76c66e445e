import { execFileSync } from 'node:child_process'
import { execPath, threadCpuUsage } from 'node:process'

import { RE2Set } from 're2js'

import type { CompiledPolicies } from '../src/policy/compile.ts'
import { evaluate } from '../src/policy/evaluate.ts'
import type { Cold } from './policy-cold.ts'
import { callWith, compileSet, patternOf, type PolicySet } from './policy-sets.ts'
import { FULL, HOSTILE, KINDS, randomFrom, textOf } from './policy-texts.ts'
import { median, percentile } from './statistics.ts'

/** What deciding costs by itself, without sockets and disk. */

export const DETECT = ['email', 'us_ssn', 'credit_card', 'api_key', 'private_key'] as const
const COLD = new URL('./policy-cold.ts', import.meta.url).pathname
const KIB = 1000
/** What is measured at once, for each round that is asked for: the kernel counts CPU in steps of 4 ms. */
const PASSES = 2

/** One size of text under one number of policies, means over the kinds of text. */
export interface Deciding extends PolicySet {
  readonly units: number
  readonly warmUs: number
  /** The first decision of a process, and how long compiling took before. */
  readonly cold: Cold
}

/** 1,000 different texts of 2 KB, once each after loading, above policies that look at nothing. */
export interface Fresh {
  readonly patterns: number
  readonly p50Us: number
  /** Without the time in which the thread did not run. */
  readonly p99Us: number
  /** The longest of the first ten decisions, the same. */
  readonly firstMs: number
}

export interface Policies {
  readonly deciding: readonly Deciding[]
  readonly fresh: readonly Fresh[]
  /** CPU of deciding ÷ CPU of one pass of all patterns by RE2Set, by kind of text, 100 KB. */
  readonly ratios: Readonly<Record<string, number>>
  /** Coefficient of determination of CPU over length, 10 KB to 1 MB. */
  readonly linearity: number
  /** Longest step, in CPU, and longest silence of the event loop while 16 MB of something are decided on. */
  readonly stall: { readonly worstMs: number; readonly silenceMs: number; readonly text: string }
}

export interface PoliciesPlan {
  readonly rounds: number
  readonly units: readonly number[]
  readonly hostileUnits: number
  readonly say: (text: string) => void
}

/** Measures all of it; a minute, or seconds when `units` are few and `rounds` is 1. */
export async function measurePolicies(plan: PoliciesPlan): Promise<Policies> {
  const deciding: Deciding[] = []
  for (const policies of [10, 100, 1000]) {
    plan.say(`deciding, ${policies} policies`)
    const set = { policies, patterns: Math.min(policies, 200), detect: DETECT }
    const compiled = compileSet(set)
    for (const units of plan.units) {
      const warmUs = await warm(compiled, units, plan.rounds)
      deciding.push({ ...set, units, warmUs, cold: coldRun(set, units) })
    }
  }
  plan.say('deciding, fresh texts')
  const fresh = [20, 200].map((patterns) => freshRun(patterns))
  const compiled = compileSet({ policies: 100, patterns: 20, detect: DETECT })
  plan.say('deciding, against one pass of the engine')
  const ratios: Record<string, number> = {}
  for (const kind of KINDS) ratios[kind] = await ratio(compiled, kind, plan.rounds)
  const linearity = await linear(compiled, plan)
  plan.say('deciding, hostile texts')
  return { deciding, fresh, ratios, linearity, stall: await worstStall(plan.hostileUnits) }
}

async function warm(compiled: CompiledPolicies, units: number, rounds: number): Promise<number> {
  const random = randomFrom(7)
  const count = units > 100 * KIB ? 1 : 25
  const texts = KINDS.flatMap((kind) =>
    Array.from({ length: count }, () => textOf(kind, units, random)),
  )
  const decideAll = () => decideOn(compiled, texts)
  await decideAll()
  const costs: number[] = []
  for (let round = 0; round < rounds; round++) costs.push(await cpuUs(decideAll, rounds * PASSES))
  return median(costs) / texts.length
}

/** Decides on each text once. */
async function decideOn(compiled: CompiledPolicies, texts: readonly string[]): Promise<void> {
  for (const text of texts) {
    const decision = evaluate(compiled, callWith(text))
    if (decision instanceof Promise) await decision
  }
}

/** CPU of this thread for each of some passes, microseconds. */
async function cpuUs(pass: () => void | Promise<void>, passes: number): Promise<number> {
  const before = threadCpuUsage()
  for (let done = 0; done < passes; done++) await pass()
  const { user, system } = threadCpuUsage(before)
  return (user + system) / passes
}

function coldRun(set: PolicySet, units: number): Cold {
  const told = execFileSync(execPath, [COLD, JSON.stringify({ set, units })], { encoding: 'utf8' })
  return JSON.parse(told) as Cold
}

function freshRun(patterns: number): Fresh {
  const set = { policies: 100, patterns, detect: DETECT }
  const { textsUs, busyUs, nothingUs } = coldRun(set, 2 * KIB)
  return {
    patterns,
    p50Us: percentile(ascending(textsUs), 50) - percentile(ascending(nothingUs), 50),
    p99Us: percentile(ascending(busyUs), 99),
    firstMs: Math.max(...busyUs.slice(0, 10)) / 1000,
  }
}

function ascending(values: readonly number[]): readonly number[] {
  return [...values].sort((one, other) => one - other)
}

async function ratio(
  compiled: CompiledPolicies,
  kind: (typeof KINDS)[number],
  rounds: number,
): Promise<number> {
  const set = new RE2Set()
  for (let i = 0; i < 20; i++) set.add(patternOf(i))
  set.compile()
  const random = randomFrom(3)
  const texts = Array.from({ length: 20 }, () => textOf(kind, 100 * KIB, random))
  const passAll = () => {
    for (const text of texts) set.match(text)
  }
  const decideAll = () => decideOn(compiled, texts)
  passAll()
  await decideAll()
  const ratios: number[] = []
  for (let round = 0; round < rounds; round++) {
    const decidingUs = await cpuUs(decideAll, rounds * PASSES)
    ratios.push(decidingUs / (await cpuUs(passAll, rounds * PASSES)))
  }
  return median(ratios)
}

async function linear(compiled: CompiledPolicies, { rounds }: PoliciesPlan): Promise<number> {
  const points: (readonly [number, number])[] = []
  for (const units of [10, 30, 100, 300, 1000].map((kib) => kib * KIB)) {
    const random = randomFrom(5)
    const count = Math.max(1, Math.round((1000 * KIB) / units))
    const texts = Array.from({ length: count }, () => textOf('prose', units, random))
    const decideAll = () => decideOn(compiled, texts)
    await decideAll()
    const costs: number[] = []
    for (let round = 0; round < rounds; round++) {
      costs.push(await cpuUs(decideAll, rounds * PASSES))
    }
    points.push([units, Math.min(...costs) / count])
  }
  return determination(points)
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** R² of the straight line that fits best. */
function determination(points: readonly (readonly [number, number])[]): number {
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))]
  const sum = (of: (x: number, y: number) => number) =>
    points.reduce((total, [x, y]) => total + of(x - meanX, y - meanY), 0)
  return sum((x, y) => x * y) ** 2 / (sum((x) => x * x) * sum((_, y) => y * y))
}

/** The longest step of deciding on texts that come close to much, and on texts full of values. */
async function worstStall(units: number): Promise<Policies['stall']> {
  const compiled = compileSet({ policies: 100, patterns: 200, detect: DETECT })
  let worst = { worstMs: 0, silenceMs: 0, text: '' }
  for (const text of [...HOSTILE, ...FULL]) {
    const stall = await stallOf(compiled, text.repeat(Math.ceil(units / text.length)))
    if (stall.worstMs > worst.worstMs) worst = { ...stall, text }
  }
  return worst
}

/** CPU of this thread between two turns of the loop, and the time that went by: others run meanwhile. */
async function stallOf(
  compiled: CompiledPolicies,
  text: string,
): Promise<Omit<Policies['stall'], 'text'>> {
  const stall = { worstMs: 0, silenceMs: 0 }
  let isOn = true
  const turn = (lastMs: number, lastCpuMs: number) => {
    const [nowMs, nowCpuMs] = [performance.now(), threadMs()]
    stall.silenceMs = Math.max(stall.silenceMs, nowMs - lastMs)
    stall.worstMs = Math.max(stall.worstMs, nowCpuMs - lastCpuMs)
    if (isOn) setImmediate(turn, nowMs, nowCpuMs)
  }
  setImmediate(turn, performance.now(), threadMs())
  await evaluate(compiled, callWith(text))
  await new Promise((resolve) => setImmediate(resolve))
  isOn = false
  return stall
}

function threadMs(): number {
  const { user, system } = threadCpuUsage()
  return (user + system) / 1000
}
