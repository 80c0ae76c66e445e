import type { Child } from './child.ts'
import { pause } from './ipc.ts'
import type { Usage } from './probe.ts'
import type { BusyLoad, BusyResult } from './session-load.ts'
import { median } from './statistics.ts'
import { startBare, startGovernor, startLoad, startUpstream } from './targets.ts'
import { callHeaders } from './work.ts'

/** What sessions over WebSocket cost: memory of each while it is silent, delay of its events while it is not. */

export const SESSION_TARGETS = ['bare', 'governor'] as const
export type SessionTarget = (typeof SESSION_TARGETS)[number]

export interface SessionFigures {
  /** RSS that the idle sessions added, divided by their number. */
  readonly bytesPerSession: number
  /** From the provider to the client, of an event of a response; medians over the rounds. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly addedP50Ms: number
  readonly addedP99Ms: number
  /** There and back, of an event that asks for a response: recorded before it is sent on. */
  readonly askedP50Ms: number
  readonly askedP99Ms: number
  /** Of an event, and there and back, where all sessions ask in one and the same moment. */
  readonly burstP99Ms: number
  readonly burstAskedP99Ms: number
}

export interface Sessions {
  readonly idle: number
  readonly busy: number
  readonly paceMs: number
  readonly rounds: number
  readonly directP50Ms: number
  readonly directP99Ms: number
  readonly directAskedP50Ms: number
  readonly directAskedP99Ms: number
  readonly directBurstP99Ms: number
  readonly directBurstAskedP99Ms: number
  readonly targets: Readonly<Record<SessionTarget, SessionFigures>>
}

export interface SessionsPlan {
  readonly directory: string
  readonly idle: number
  readonly busy: number
  /** Short responses that each busy session asks for before anything is measured. */
  readonly warmUps: number
  /** Responses that a busy session asks for in one round, and events of each. */
  readonly responses: number
  readonly events: number
  readonly paceMs: number
  readonly rounds: number
  readonly say: (text: string) => void
}

type Results = Record<'direct' | SessionTarget, BusyResult[]>

/** What a response is while everything warms up. */
const SHORT = { events: 5, paceMs: 4 }
/** After which what opening a session left behind has been collected. */
const SETTLE_MS = 3000

/** Runs everything; rejects when a process breaks or a session is refused. */
export async function measureSessions(plan: SessionsPlan): Promise<Sessions> {
  const children: Child[] = []
  const keep = (child: Child): Child => {
    children.push(child)
    return child
  }
  try {
    const upstream = keep(await startUpstream('session-upstream'))
    const load = keep(await startLoad('session'))
    const bare = keep(await startBare('relay', upstream, ['--expose-gc']))
    const { child, key } = await startGovernor(upstream, plan.directory, {
      nodeFlags: ['--expose-gc'],
    })
    const targets = { direct: upstream, bare, governor: keep(child) }
    const bytes = { direct: 0, bare: 0, governor: 0 }
    const results: Results = { direct: [], bare: [], governor: [] }
    const bursts: Results = { direct: [], bare: [], governor: [] }
    const open = (name: keyof typeof targets, idle: number) =>
      load.ask('open', { url: targets[name].url, headers: callHeaders(key), idle })
    const { busy: sessions, responses, events, paceMs } = plan
    const steady: BusyLoad = { sessions, responses, spreadMs: events * paceMs }
    const burst: BusyLoad = { sessions, responses: 1, spreadMs: paceMs }
    const warmUp = async (name: SessionTarget, busy: BusyLoad, pace: object): Promise<void> => {
      await upstream.ask('pace', pace)
      await open(name, plan.busy)
      await load.ask('busy', busy)
      await load.ask('close')
    }
    for (const name of SESSION_TARGETS) {
      // What the first sessions load, compile and verify is not of any one of them.
      await warmUp(name, steady, { events, paceMs })
      plan.say(`${plan.idle} idle sessions through ${name}`)
      bytes[name] = await added(targets[name], () => open(name, plan.idle), plan.idle)
      await load.ask('close')
    }
    // V8 compiles on the core of the proxy, for as long as 4 ms at a time, what runs once a response, too.
    const short: BusyLoad = { sessions, responses: plan.warmUps, spreadMs: SHORT.paceMs }
    for (const name of SESSION_TARGETS) await warmUp(name, short, SHORT)
    await upstream.ask('pace', { events, paceMs })
    for (let round = 0; round < plan.rounds; round++) {
      plan.say(`${plan.busy} busy sessions, round ${round + 1} of ${plan.rounds}`)
      for (const name of ['direct', ...SESSION_TARGETS] as const) {
        await open(name, plan.busy)
        results[name].push(await load.ask<BusyResult>('busy', steady))
        bursts[name].push(await load.ask<BusyResult>('busy', burst))
        await load.ask('close')
      }
    }
    return summary(plan, bytes, { results, bursts })
  } finally {
    await Promise.all(children.map((child) => child.stop()))
  }
}

async function added(
  child: Child,
  open: () => Promise<unknown>,
  sessions: number,
): Promise<number> {
  await child.ask('collect')
  const before = await child.ask<Usage>('usage')
  await open()
  await pause(SETTLE_MS)
  await child.ask('collect')
  const after = await child.ask<Usage>('usage')
  return (after.rssBytes - before.rssBytes) / sessions
}

function summary(
  { idle, busy, paceMs, rounds }: SessionsPlan,
  bytes: Readonly<Record<SessionTarget, number>>,
  { results, bursts }: { readonly results: Results; readonly bursts: Results },
): Sessions {
  const over = (name: keyof Results, figure: keyof BusyResult, of = results): number =>
    median(of[name].map((result) => result[figure]))
  const figures = (name: SessionTarget): SessionFigures => ({
    bytesPerSession: bytes[name],
    p50Ms: over(name, 'p50Ms'),
    p99Ms: over(name, 'p99Ms'),
    addedP50Ms: over(name, 'p50Ms') - over('direct', 'p50Ms'),
    addedP99Ms: over(name, 'p99Ms') - over('direct', 'p99Ms'),
    askedP50Ms: over(name, 'askedP50Ms'),
    askedP99Ms: over(name, 'askedP99Ms'),
    burstP99Ms: over(name, 'p99Ms', bursts),
    burstAskedP99Ms: over(name, 'askedP99Ms', bursts),
  })
  return {
    idle,
    busy,
    paceMs,
    rounds,
    directP50Ms: over('direct', 'p50Ms'),
    directP99Ms: over('direct', 'p99Ms'),
    directAskedP50Ms: over('direct', 'askedP50Ms'),
    directAskedP99Ms: over('direct', 'askedP99Ms'),
    directBurstP99Ms: over('direct', 'p99Ms', bursts),
    directBurstAskedP99Ms: over('direct', 'askedP99Ms', bursts),
    targets: { bare: figures('bare'), governor: figures('governor') },
  }
}
