import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import type { CallLoad, CallResult } from './call-load.ts'
import type { Child } from './child.ts'
import type { FloodResult, KeyFlood } from './key-flood.ts'
import { median } from './statistics.ts'
import { startFlood, startGovernor, startLoad, startUpstream } from './targets.ts'
import { CALL_BODY, callHeaders, PATH } from './work.ts'

/** What a caller with a good key notices of those who guess at keys. */

export interface Flooded {
  readonly name: FloodName
  /** Of the caller while it runs, medians over the rounds, and so is the ratio to the quiet of its round. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly ratio: number
  /** What the guesses were answered, by status. */
  readonly statuses: Readonly<Record<string, number>>
}

export interface Floods {
  readonly perSecond: number
  readonly quietP50Ms: number
  readonly quietP99Ms: number
  readonly floods: readonly Flooded[]
}

export interface FloodsPlan {
  readonly directory: string
  readonly rounds: number
  readonly sliceMs: number
  readonly perSecond: number
  readonly warmUpCalls: number
  readonly say: (text: string) => void
}

export const FLOODS = ['unknown ids', 'wrong secrets', '72 bytes and NUL'] as const
export type FloodName = (typeof FLOODS)[number]

/** Few calls at once: a proxy that has nothing to spare is slow with whatever comes beside. */
const CONNECTIONS = 2
/** Guesses in one slice that are not the same. */
const GUESSES = 20_000
/** The flood begins before the caller's slice and ends after it. */
const MARGIN_MS = 500

interface Round {
  readonly quiet: CallResult
  readonly floods: Readonly<Record<FloodName, CallResult & FloodResult>>
}

/** Runs it. Rejects when a process breaks or a call of the caller fails. */
export async function measureFloods(plan: FloodsPlan): Promise<Floods> {
  const children: Child[] = []
  const keep = <Started extends Child>(child: Started): Started => {
    children.push(child)
    return child
  }
  try {
    const upstream = keep(await startUpstream())
    const load = keep(await startLoad('call'))
    const flood = keep(await startFlood())
    const directory = join(plan.directory, 'floods')
    mkdirSync(directory)
    const { child, key } = await startGovernor(upstream, directory)
    keep(child)
    const url = child.url + PATH
    const call = async (calls: number, connections = CONNECTIONS) => {
      const work: CallLoad = { url, connections, calls, headers: callHeaders(key), body: CALL_BODY }
      const result = await load.ask<CallResult>('calls', work)
      if (result.failed > 0) throw new Error(`${result.failed} of ${calls} calls failed`)
      return result
    }
    plan.say('warming up')
    await call(10, 1)
    const { callsPerSecond } = await call(plan.warmUpCalls)
    const calls = Math.max(100, Math.round((callsPerSecond * plan.sliceMs) / 1000))
    const rounds: Round[] = []
    for (let round = 0; round < plan.rounds; round++) {
      plan.say(`floods of keys, round ${round + 1} of ${plan.rounds}`)
      const quiet = await call(calls)
      const floods = {} as Record<FloodName, CallResult & FloodResult>
      for (const name of FLOODS) {
        const durationMs = plan.sliceMs + 2 * MARGIN_MS
        const { perSecond } = plan
        const keys = guesses(name, key)
        const work: KeyFlood = { url, keys, body: CALL_BODY, perSecond, durationMs }
        const running = flood.ask<FloodResult>('flood', work)
        await new Promise((resolve) => setTimeout(resolve, MARGIN_MS))
        const called = await call(calls)
        floods[name] = { ...called, ...(await running) }
      }
      rounds.push({ quiet, floods })
    }
    return summarise(rounds, plan)
  } finally {
    await Promise.all(children.map((each) => each.stop()))
  }
}

/** Credentials that look like keys and are none, no two alike. */
function guesses(name: FloodName, key: string): string[] {
  const [keyId = '', secret = ''] = key.split('.')
  return Array.from({ length: GUESSES }, (_, index) => {
    const random = randomBytes(32).toString('base64url')
    if (name === 'unknown ids') return `${randomUUID()}.${random}`
    if (name === 'wrong secrets') return `${keyId}.${random}`
    // bcrypt reads 72 bytes, and up to the first NUL: with the right secret at their beginning.
    return [
      `${keyId}.${`${secret}${random}`.slice(0, 72)}`,
      `${keyId}.${secret}${random}${random}`,
      `${keyId}.${secret}%00${index}`,
    ][index % 3]!
  })
}

function summarise(rounds: readonly Round[], { perSecond }: FloodsPlan): Floods {
  const over = (figure: (round: Round) => number) => median(rounds.map(figure))
  return {
    perSecond,
    quietP50Ms: over(({ quiet }) => quiet.p50Ms),
    quietP99Ms: over(({ quiet }) => quiet.p99Ms),
    floods: FLOODS.map((name) => ({
      name,
      p50Ms: over(({ floods }) => floods[name].p50Ms),
      p99Ms: over(({ floods }) => floods[name].p99Ms),
      ratio: over(({ quiet, floods }) => floods[name].p99Ms / quiet.p99Ms),
      statuses: rounds[0]!.floods[name].statuses,
    })),
  }
}
