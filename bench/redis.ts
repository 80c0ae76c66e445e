import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'

import type { CallLoad, CallResult } from './call-load.ts'
import { canPin, type Child, CORE } from './child.ts'
import { pause } from './ipc.ts'
import type { Usage } from './probe.ts'
import { median } from './statistics.ts'
import { startGovernor, startLoad, startUpstream } from './targets.ts'
import { CALL_BODY, callHeaders, PATH } from './work.ts'

/** What it costs to share limits: the same Governor counting in memory, twice, and in Redis, in turn. */

const STORES = ['memory', 'redis', 'control'] as const
type Store = (typeof STORES)[number]

export interface StoreFigures {
  readonly cpuUsPerCall: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface SharedLimits {
  readonly targets: Readonly<Record<Store, StoreFigures>>
  /** CPU of the process, Redis ÷ memory, of each round and their median; control ÷ memory likewise. */
  readonly ratios: readonly number[]
  readonly ratio: number
  readonly controlRatios: readonly number[]
  readonly controlRatio: number
}

export interface SharedLimitsPlan {
  readonly directory: string
  readonly connections: number
  readonly rounds: number
  readonly sliceMs: number
  readonly warmUpCalls: number
  readonly say: (text: string) => void
}

interface Slice extends CallResult {
  readonly cpuUs: number
}

type Round = Readonly<Record<Store, Slice>>

const REDIS_START_MS = 10_000
/** Outcomes are written up to 100 ms after their calls, places given back likewise. */
const SETTLE_MS = 150

/** Runs it. Rejects when a process breaks, a call fails, or there is no redis-server on the PATH. */
export async function measureRedis(plan: SharedLimitsPlan): Promise<SharedLimits> {
  const port = await freePort()
  const server = startRedis(port)
  const children: Child[] = []
  const keep = <Started extends Child>(child: Started): Started => {
    children.push(child)
    return child
  }
  try {
    await answers(port)
    const upstream = keep(await startUpstream())
    const load = keep(await startLoad('call'))
    const running = {} as Record<Store, { readonly child: Child; readonly key: string }>
    for (const store of STORES) {
      const directory = join(plan.directory, `limits-${store}`)
      mkdirSync(directory)
      const limitStore = store === 'redis' ? `redis://127.0.0.1:${port}` : 'memory'
      running[store] = await startGovernor(upstream, directory, { limitStore })
      keep(running[store].child)
    }
    const slice = (store: Store, calls: number, connections = plan.connections) =>
      oneSlice(load, running[store], { connections, calls })
    plan.say('warming up')
    for (const store of STORES) {
      // One at a time first: a new key is verified with bcrypt, behind which only a few may wait.
      await slice(store, 10, 1)
      await slice(store, plan.warmUpCalls)
    }
    return summarise(await rounds(plan, slice))
  } finally {
    await Promise.all(children.map((child) => child.stop()))
    server.kill('SIGKILL')
  }
}

async function rounds(
  { connections, rounds: count, sliceMs, say }: SharedLimitsPlan,
  slice: (store: Store, calls: number) => Promise<Slice>,
): Promise<Round[]> {
  const sizes = {} as Record<Store, number>
  for (const store of STORES) {
    const { callsPerSecond } = await slice(store, connections * 30 + 100)
    sizes[store] = Math.max(connections, Math.round((callsPerSecond * sliceMs) / 1000))
  }
  const measured: Round[] = []
  for (let round = 0; round < count; round++) {
    say(`limits, c=${connections}, round ${round + 1} of ${count}`)
    const slices = {} as Record<Store, Slice>
    for (let turn = 0; turn < STORES.length; turn++) {
      const store = STORES[(round + turn) % STORES.length]!
      slices[store] = await slice(store, sizes[store])
    }
    measured.push(slices)
  }
  return measured
}

async function oneSlice(
  load: Child,
  { child, key }: { readonly child: Child; readonly key: string },
  { connections, calls }: { readonly connections: number; readonly calls: number },
): Promise<Slice> {
  const work: CallLoad = {
    url: child.url + PATH,
    connections,
    calls,
    headers: callHeaders(key),
    body: CALL_BODY,
  }
  const before = await child.ask<Usage>('usage')
  const result = await load.ask<CallResult>('calls', work)
  await pause(SETTLE_MS)
  const after = await child.ask<Usage>('usage')
  if (result.failed > 0) throw new Error(`${child.name}: ${result.failed} of ${calls} calls failed`)
  return { ...result, cpuUs: after.cpuUs - before.cpuUs }
}

function summarise(measured: readonly Round[]): SharedLimits {
  const cpu = (round: Round, store: Store): number => round[store].cpuUs / round[store].calls
  const over = (figure: (round: Round) => number): number => median(measured.map(figure))
  const figures = (store: Store): StoreFigures => ({
    cpuUsPerCall: over((round) => cpu(round, store)),
    p50Ms: over((round) => round[store].p50Ms),
    p99Ms: over((round) => round[store].p99Ms),
  })
  const ratios = (store: Store) => measured.map((round) => cpu(round, store) / cpu(round, 'memory'))
  const [shared, control] = [ratios('redis'), ratios('control')]
  return {
    targets: { memory: figures('memory'), redis: figures('redis'), control: figures('control') },
    ratios: shared,
    ratio: median(shared),
    controlRatios: control,
    controlRatio: median(control),
  }
}

/** On the core of the load: what Redis itself takes is not Governor's. */
function startRedis(port: number): ChildProcess {
  const redis = ['redis-server', '--port', String(port), '--save', '']
  const pinned = canPin ? ['taskset', '-c', String(CORE.load), ...redis] : redis
  const server = spawn(pinned[0]!, pinned.slice(1), { stdio: 'ignore' })
  // That it cannot be started is told by nobody answering.
  server.on('error', () => {})
  return server
}

async function answers(port: number): Promise<void> {
  const deadline = performance.now() + REDIS_START_MS
  while (performance.now() < deadline) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (isOpen) return
    await pause(50)
  }
  throw new Error('No redis-server answered: put it on the PATH')
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}
