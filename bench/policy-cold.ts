import process, { argv, stdout, threadCpuUsage } from 'node:process'

import { evaluate } from '../src/policy/evaluate.ts'
import { callWith, compileSet, type PolicySet } from './policy-sets.ts'
import { KINDS, randomFrom, textOf } from './policy-texts.ts'

/** A process that has decided nothing yet: `policy-cold.ts {"set": …, "units": …}` prints JSON. */

export interface Cold {
  readonly compileMs: number
  readonly firstMs: number
  /** The decisions on 1,000 different texts, in order; empty for longer ones than 2 KB. */
  readonly textsUs: readonly number[]
  /** The same without the time in which this thread did not run: others may have its core. */
  readonly busyUs: readonly number[]
  /** The same under one policy that allows everything. */
  readonly nothingUs: readonly number[]
}

const { set, units } = JSON.parse(argv[2] ?? '') as { set: PolicySet; units: number }
const random = randomFrom(11)
const texts = Array.from({ length: units > 2000 ? 1 : 1000 }, (_, index) =>
  textOf(KINDS[index % KINDS.length]!, units, random),
)

const startMs = performance.now()
const compiled = compileSet(set)
const compileMs = performance.now() - startMs
const textsUs: number[] = []
const busyUs: number[] = []
for (const text of texts) {
  const beforeUs = cpuUs()
  const us = await decideUs(compiled, text)
  textsUs.push(us)
  busyUs.push(Math.min(us, cpuUs() - beforeUs))
}
const firstMs = (textsUs[0] ?? 0) / 1000
const nothing = compileSet({ policies: 1, patterns: 0, detect: [] })
const nothingUs: number[] = []
if (units <= 2000) for (const text of texts) nothingUs.push(await decideUs(nothing, text))
const isLong = units > 2000
const cold: Cold = {
  compileMs,
  firstMs,
  textsUs: isLong ? [] : textsUs,
  busyUs: isLong ? [] : busyUs,
  nothingUs,
}
stdout.write(JSON.stringify(cold))
process.exitCode = 0

/** In steps of up to 4 ms, as the kernel counts. */
function cpuUs(): number {
  const { user, system } = threadCpuUsage()
  return user + system
}

async function decideUs(policies: ReturnType<typeof compileSet>, text: string): Promise<number> {
  const call = callWith(text)
  const beforeMs = performance.now()
  const decision = evaluate(policies, call)
  if (decision instanceof Promise) await decision
  return (performance.now() - beforeMs) * 1000
}
