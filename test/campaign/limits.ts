import { type ChildProcess, fork } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { LimitConfig } from '../../src/config/snapshot.ts'
import { RedisStore } from '../../src/limit/redis-store.ts'
import type { LimitState } from '../../src/nouns/lease.ts'
import { callBy, limitOf, matches, rate } from '../limit/limits.ts'
import { RedisCluster } from '../support/redis-fleet.ts'
import { RedisServer } from '../support/redis.ts'
import { Seeded } from '../support/seeded.ts'
import { until } from '../support/until.ts'
import { type Grant, mostAtOnce, mostInWindow, mostOfKey } from './limits-oracle.ts'
import { LEASE_MS, type Share, type Told } from './limits-worker.ts'

/**
 * Eight processes hammer one tenant, round after round, each with a store of its own in the same Redis,
 * or the same Cluster. All figures are ceilings, and exact ones: what all processes together were let
 * do is compared with an oracle that knows only when they asked and heard. In some rounds half of them
 * are killed with SIGKILL, and then all places must be free again. A round depends on its number and the
 * seed alone; one that was ended goes on where it was.
 */
export interface LimitsOptions {
  readonly directory: string
  /** Calls in all, former runs in the same directory included. */
  readonly calls: number
  readonly seed: number
  readonly callsOfRound?: number
  readonly say?: (line: string) => void
}

export interface LimitsReport {
  readonly problems: readonly string[]
  readonly calls: number
  readonly passed: number
  readonly lost: number
  readonly killed: number
  readonly rounds: number
}

const PROCESSES = 8
const HOUR_MS = 3_600_000
const WORKER = new URL('./limits-worker.ts', import.meta.url).pathname

/** How much of the ceilings of a round is asked about. */
interface Plan {
  readonly isCluster: boolean
  readonly kills: boolean
  readonly tenant: string
  readonly total: number
  readonly ofKey: number
  readonly window: { readonly count: number; readonly ms: number }
  readonly places: number
  readonly tokens: number
  readonly limits: readonly Partial<LimitConfig>[]
}

function planOf(seed: number, round: number, calls: number): Plan {
  const random = new Seeded(seed * 1_000_003 + round)
  const whole = (least: number, most: number) => Math.floor(random.between(least, most))
  const total = whole(calls / 4, calls)
  const ofKey = whole(total / 8, total / 2)
  const window = { count: whole(calls / 100, calls / 10), ms: whole(300, 1_000) }
  const places = whole(4, 100)
  const tokens = whole(total * 20, total * 120)
  // Any one of them alone now and then, so that each is reached.
  const all = [
    { id: 'total', per: 'tenant', requests: rate(total, HOUR_MS) },
    { id: 'key', per: 'key', requests: rate(ofKey, HOUR_MS) },
    { id: 'window', per: 'global', requests: rate(window.count, window.ms) },
    { id: 'places', per: 'tenant', concurrent: places },
    { id: 'tokens', per: 'global', tokens: rate(tokens, HOUR_MS) },
  ] as const
  const kills = round % 3 === 1
  const needed = kills ? ['total', 'places'] : ['total']
  const chosen = all.filter(({ id }) => needed.includes(id) || random.next() < 0.4)
  // Limits of all are named by the round: they have no tenant to begin anew with.
  const limits = chosen.map((limit) => ({ ...limit, id: `${limit.id}-${seed}-${round}` }))
  return {
    isCluster: random.next() < 0.4,
    kills,
    tenant: `tenant-${seed}-${round}`,
    total,
    ofKey,
    window,
    places,
    tokens,
    limits,
  }
}

/** Runs what is left of it. */
export async function limitsCampaign(options: LimitsOptions): Promise<LimitsReport> {
  const { directory, seed, say = () => {} } = options
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'state.json')
  let report: LimitsReport = existsSync(file)
    ? (JSON.parse(readFileSync(file, 'utf8')) as LimitsReport)
    : { problems: [], calls: 0, passed: 0, lost: 0, killed: 0, rounds: 0 }
  if (report.calls >= options.calls) return report
  const ends: (() => unknown)[] = []
  const scope = { teardown: (end: () => unknown) => void ends.push(end), testdir: () => directory }
  try {
    const server = await RedisServer.start(scope)
    const cluster = await RedisCluster.start(scope)
    const workers = new Workers()
    ends.push(() => workers.end())
    while (report.calls < options.calls) {
      const plan = planOf(seed, report.rounds, options.callsOfRound ?? 20_000)
      const place = plan.isCluster ? cluster.place : server.place
      const round = await oneRound(plan, { ...options, place, workers, round: report.rounds })
      report = {
        problems: [...report.problems, ...round.problems],
        calls: report.calls + round.calls,
        passed: report.passed + round.passed,
        lost: report.lost + round.lost,
        killed: report.killed + round.killed,
        rounds: report.rounds + 1,
      }
      writeFileSync(file, JSON.stringify(report))
      say(`${report.calls}/${options.calls}: ${round.passed} of ${round.calls} passed`)
    }
  } finally {
    for (const end of ends.toReversed()) await end()
  }
  return report
}

interface RoundOptions extends LimitsOptions {
  readonly place: Share['place']
  readonly workers: Workers
  readonly round: number
}

async function oneRound(plan: Plan, options: RoundOptions): Promise<LimitsReport> {
  const { place, workers, round, seed, callsOfRound = 20_000 } = options
  const share = {
    place,
    limits: plan.limits,
    tenant: plan.tenant,
    calls: Math.ceil(callsOfRound / PROCESSES),
    atOnce: 16,
    keys: 5,
    holdMsMax: plan.kills ? 200 : 20,
    tokensMax: 200,
  }
  const { told, killed } = await workers.run(
    (index) => ({ ...share, seed: seed * 7_919 + round * 101 + index }),
    plan.kills ? 0.3 : null,
  )
  const grants = told.flatMap((each) => each.grants)
  const sum = (of: (each: Told) => number) => told.reduce((total, each) => total + of(each), 0)
  const lost = sum((each) => each.lost)
  const where = `round ${round} (seed ${seed}, ${plan.isCluster ? 'cluster' : 'one server'})`
  const found = await compare(plan, grants, { place, killed, lost })
  const problems = found.map((problem) => `${where}: ${problem}`)
  return {
    problems,
    calls: sum((each) => each.asked),
    passed: grants.length,
    lost,
    killed,
    rounds: 1,
  }
}

interface Circumstances {
  readonly place: Share['place']
  readonly killed: number
  readonly lost: number
}

/** What all processes were let do, against the ceilings; then what is left, against the sum. */
async function compare(
  plan: Plan,
  grants: readonly Grant[],
  { place, killed, lost }: Circumstances,
): Promise<string[]> {
  const { limits, total, ofKey, window, places } = plan
  const has = (id: string) => limits.some((limit) => limit.id?.startsWith(`${id}-`))
  const figures: [string, number, number][] = [['total', grants.length, total]]
  if (has('key')) figures.push(['key', mostOfKey(grants), ofKey])
  if (has('window')) figures.push(['window', mostInWindow(grants, window.ms), window.count])
  if (has('places')) figures.push(['places', mostAtOnce(grants), places])
  const problems = figures
    .filter(([, most, limit]) => most > limit)
    .map(([id, most, limit]) => `${id}: ${most} passed where ${limit} may`)
  const isExact = killed === 0 && lost === 0
  if (isExact && limits.length === 1 && grants.length !== total) {
    problems.push(`total: ${grants.length} passed where ${total} may`)
  }
  const store = new RedisStore({ place, sidecars: 1, waitMs: 20_000, leaseMs: LEASE_MS })
  try {
    await store.open()
    await until('Redis', () => store.mode === 'redis', 60_000)
    return [...problems, ...(await afterwards(plan, grants, { store, isExact, has }))]
  } finally {
    await store.close()
  }
}

/** With all calls ended nothing is held, and what was spent is charged once. */
async function afterwards(
  plan: Plan,
  grants: readonly Grant[],
  given: {
    readonly store: RedisStore
    readonly isExact: boolean
    readonly has: (id: string) => boolean
  },
): Promise<string[]> {
  const { store, isExact, has } = given
  const { limits, tenant, places, tokens } = plan
  const problems: string[] = []
  const only = (id: string) => limits.filter((limit) => limit.id?.startsWith(`${id}-`)).map(limitOf)
  const forecast = { inputTokens: 0, outputTokensMax: 0, price: null, allowsUnpriced: true }
  const look = async (): Promise<LimitState | null> => {
    const call = { ...callBy({ tenant }), forecast }
    const outcome = await store.reserve(call, {
      wallMs: Date.now(),
      monotonicMs: performance.now(),
    })
    if ('states' in outcome) return outcome.states[0] ?? null
    return outcome.kind === 'over' ? outcome.state : null
  }
  if (has('places')) {
    store.reconfigure(only('places'), matches)
    let taken = 0
    const withinMs = LEASE_MS * 3 + 10_000
    await until(
      'all places to be free',
      async () => {
        for (;;) {
          const state = await look()
          if (state === null || taken === places) return taken === places
          taken++
          if (state.remaining === 0) return taken >= places
        }
      },
      withinMs,
    ).catch((error: Error) => problems.push(`places: ${taken} of ${places}: ${error.message}`))
  }
  if (has('tokens') && isExact) {
    store.reconfigure(only('tokens'), matches)
    const spent = grants.reduce((sum, grant) => sum + grant.spent, 0)
    const left = await look()
    if (left?.remaining !== Math.max(0, tokens - spent)) {
      problems.push(`tokens: ${left?.remaining} left of ${tokens} after ${spent}`)
    }
  }
  return problems
}

/** Eight processes; those that were killed are started anew for the next round. */
class Workers {
  #children: ChildProcess[] = []

  /** All that was told until each is over or was killed, half of them after `killAt` of the calls. */
  async run(
    shareOf: (index: number) => Share,
    killAt: number | null,
  ): Promise<{ told: Told[]; killed: number }> {
    while (this.#children.length < PROCESSES)
      this.#children.push(fork(WORKER, { stdio: 'inherit' }))
    const told: Told[] = []
    const killAfter = killAt === null ? Infinity : shareOf(0).calls * PROCESSES * killAt
    let asked = 0
    const doomed = this.#children.slice(0, PROCESSES / 2)
    const ended = this.#children.map(async (child, index) => {
      await new Promise<void>((resolve, reject) => {
        child.removeAllListeners()
        child.on('message', (each: Told) => {
          told.push(each)
          asked += each.asked
          if (asked >= killAfter) for (const other of doomed) other.kill('SIGKILL')
          if (each.isOver) resolve()
        })
        child.on('exit', (code, signal) => {
          if (signal === 'SIGKILL') resolve()
          else reject(new Error(`A process ended by itself: ${code ?? signal}`))
        })
        child.send(shareOf(index))
      })
    })
    await Promise.all(ended)
    const living = this.#children.filter(
      ({ exitCode, signalCode }) => (exitCode ?? signalCode) === null,
    )
    const killed = this.#children.length - living.length
    this.#children = living
    return { told, killed }
  }

  end(): void {
    for (const child of this.#children) {
      child.removeAllListeners()
      child.kill('SIGKILL')
    }
  }
}
