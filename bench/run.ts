import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import process, { argv, stderr, stdout } from 'node:process'
import { parseArgs } from 'node:util'

import { type AuditCost, measureAudit } from './audit.ts'
import { measureFloods, type Floods } from './floods.ts'
import { type Authenticating, measureKeys } from './keys.ts'
import { describeMachine } from './machine.ts'
import { measureOverhead, type Overhead } from './overhead.ts'
import { measurePolicies, type Policies } from './policies.ts'
import { measureRedis, type SharedLimits } from './redis.ts'
import { measureReplay, type Replayed } from './replay.ts'
import { reportText, type Results } from './report.ts'
import { measureSessions, type Sessions } from './sessions.ts'
import { measureStreams, type Streams } from './streams.ts'
import { removeDirectory, workDirectory } from './targets.ts'
import {
  judgeAudit,
  judgeFloods,
  judgeKeys,
  judgeOverhead,
  judgePolicies,
  judgeRedis,
  judgeReplay,
  judgeSessions,
  judgeStreams,
} from './verdicts.ts'
import type { Verdict } from './verdicts.ts'

/** The command line of the bench. Exit codes: 0 done, whatever the figures; 2 it could not be done. */

const USAGE = `npm run bench -- [--quick] [--only overhead|streams|sessions|policies|replay|audit|redis|keys|floods] [--record]
  --quick   short slices, a few seconds: shows that the bench works, not how fast anything is
  --only    one part of it
  --record  keep the results: a file in bench/results/ and the table in bench/README.md
`
const RESULTS = new URL('./results/', import.meta.url)
const README = new URL('./README.md', import.meta.url)
const [BEGIN, END] = ['<!-- results: written by --record -->', '<!-- end of results -->']

const say = (text: string): void => void stderr.write(`bench: ${text}\n`)

const OVERHEAD = {
  // c=32 first: it is also what warms everything up.
  levels: [
    { connections: 32, rounds: 12 },
    { connections: 10, rounds: 6 },
    { connections: 1, rounds: 8 },
  ],
  sliceMs: 1500,
  warmUpCalls: 25_000,
}
const OVERHEAD_QUICK = {
  levels: [32, 10, 1].map((connections) => ({ connections, rounds: 1 })),
  sliceMs: 100,
  warmUpCalls: 200,
}
const STREAMS = { warmUps: 20, rounds: 6, few: 10, many: 5000, earlyMs: 15_000, lateMs: 60_000 }
const STREAMS_QUICK = { warmUps: 2, rounds: 1, few: 5, many: 50, earlyMs: 600, lateMs: 1000 }

const SESSIONS = {
  idle: 1000,
  busy: 100,
  warmUps: 60,
  responses: 2,
  events: 100,
  paceMs: 20,
  rounds: 5,
}
const SESSIONS_QUICK = {
  idle: 20,
  busy: 5,
  warmUps: 1,
  responses: 1,
  events: 5,
  paceMs: 5,
  rounds: 1,
}

const POLICIES = { rounds: 5, units: [2000, 100_000, 1_000_000], hostileUnits: 16_000_000 }
const POLICIES_QUICK = { rounds: 1, units: [2000, 100_000], hostileUnits: 100_000 }

const REPLAY = { decisions: 100_000, rounds: 3 }
const REPLAY_QUICK = { decisions: 2000, rounds: 1 }

const AUDIT = {
  rounds: 5,
  commits: 200,
  verifyRows: 100_000,
  shipRows: 20_000,
  waitMs: 5000,
  few: 10_000,
  many: 1_000_000,
}
const AUDIT_QUICK = {
  rounds: 1,
  commits: 20,
  verifyRows: 2000,
  shipRows: 1000,
  waitMs: 300,
  few: 1000,
  many: 4000,
}

const REDIS = { connections: 32, rounds: 10, sliceMs: 1500, warmUpCalls: 25_000 }
const REDIS_QUICK = { connections: 32, rounds: 1, sliceMs: 100, warmUpCalls: 200 }

const KEYS = { rounds: 7, calls: 200_000, sizes: [10, 100_000] }
const KEYS_QUICK = { rounds: 1, calls: 2000, sizes: [10, 1000] }

const FLOODS = { rounds: 7, sliceMs: 3000, perSecond: 300, warmUpCalls: 10_000 }
const FLOODS_QUICK = { rounds: 1, sliceMs: 500, perSecond: 100, warmUpCalls: 200 }

const PARTS = [
  'overhead',
  'streams',
  'sessions',
  'policies',
  'replay',
  'audit',
  'redis',
  'keys',
  'floods',
] as const
type Part = (typeof PARTS)[number]

interface Options {
  readonly quick: boolean
  readonly only: Part | null
  readonly record: boolean
}

function readOptions(): Options | null {
  try {
    const { values } = parseArgs({
      args: argv.slice(2),
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string' },
        record: { type: 'boolean', default: false },
      },
    })
    const { quick, only = null, record } = values
    const part = PARTS.find((each) => each === only) ?? null
    return only !== null && part === null ? null : { quick, only: part, record }
  } catch {
    return null
  }
}

async function measure(options: Options): Promise<Results> {
  const { quick, only } = options
  const directory = workDirectory()
  const machine = describeMachine(directory)
  let overhead: Overhead | null = null
  let streams: Streams | null = null
  let sessions: Sessions | null = null
  let policies: Policies | null = null
  let replay: Replayed | null = null
  let audit: AuditCost | null = null
  let redis: SharedLimits | null = null
  let authenticating: Authentication
  const plan = <Plan>(whole: Plan, short: Plan): Plan => (quick ? short : whole)
  const isAsked = (part: Part) => only === null || only === part
  try {
    if (isAsked('overhead')) {
      overhead = await measureOverhead({ ...plan(OVERHEAD, OVERHEAD_QUICK), directory, say })
    }
    if (isAsked('streams')) {
      streams = await measureStreams({ ...plan(STREAMS, STREAMS_QUICK), directory, say })
    }
    if (isAsked('sessions')) {
      sessions = await measureSessions({ ...plan(SESSIONS, SESSIONS_QUICK), directory, say })
    }
    if (isAsked('policies')) {
      policies = await measurePolicies({ ...plan(POLICIES, POLICIES_QUICK), say })
    }
    if (isAsked('replay')) {
      replay = await measureReplay({ ...plan(REPLAY, REPLAY_QUICK), directory, say })
    }
    if (isAsked('audit')) {
      audit = await measureAudit({ ...plan(AUDIT, AUDIT_QUICK), directory, say })
    }
    if (isAsked('redis')) {
      redis = await measureRedis({ ...plan(REDIS, REDIS_QUICK), directory, say })
    }
    authenticating = await authenticationOf(options, directory)
  } finally {
    removeDirectory(directory)
  }
  const parts = { overhead, streams, sessions, policies, replay, audit, redis, ...authenticating }
  return { machine, quick, ...parts, verdicts: judge(parts) }
}

interface Authentication {
  readonly keys: readonly Authenticating[] | null
  readonly floods: Floods | null
}

async function authenticationOf(
  { quick, only }: Options,
  directory: string,
): Promise<Authentication> {
  const isAsked = (part: Part) => only === null || only === part
  const keys = { ...(quick ? KEYS_QUICK : KEYS), directory, say }
  const floods = { ...(quick ? FLOODS_QUICK : FLOODS), directory, say }
  return {
    keys: isAsked('keys') ? await measureKeys(keys) : null,
    floods: isAsked('floods') ? await measureFloods(floods) : null,
  }
}

function judge(parts: Pick<Results, Part>): Verdict[] {
  const { overhead, streams, sessions, policies, replay, audit, redis, keys, floods } = parts
  return [
    ...(overhead === null ? [] : judgeOverhead(overhead)),
    ...(streams === null ? [] : judgeStreams(streams)),
    ...(sessions === null ? [] : judgeSessions(sessions)),
    ...(policies === null ? [] : judgePolicies(policies)),
    ...(replay === null ? [] : judgeReplay(replay)),
    ...(audit === null ? [] : judgeAudit(audit)),
    ...(redis === null ? [] : judgeRedis(redis)),
    ...(keys === null ? [] : judgeKeys(keys)),
    ...(floods === null ? [] : judgeFloods(floods)),
  ]
}

function keep(results: Results, record: boolean): void {
  mkdirSync(RESULTS, { recursive: true })
  const json = `${JSON.stringify(results, null, 2)}\n`
  writeFileSync(new URL('latest.json', RESULTS), json)
  if (!record) return
  const name = `${results.machine.date.slice(0, 10)}-${results.machine.commit ?? 'unknown'}.json`
  const file = name.replace('+', '-changed')
  writeFileSync(new URL(file, RESULTS), json)
  const readme = readFileSync(README, 'utf8')
  const [before, after] = [readme.indexOf(BEGIN) + BEGIN.length, readme.indexOf(END)]
  const text = `\n\nFrom [${file}](results/${file}).\n\n${reportText(results)}\n`
  writeFileSync(README, readme.slice(0, before) + text + readme.slice(after))
  say(`recorded in bench/results/${file} and bench/README.md`)
}

const options = readOptions()
if (options === null) {
  stderr.write(USAGE)
  process.exitCode = 2
} else {
  try {
    const results = await measure(options)
    stdout.write(`\n${reportText(results)}`)
    keep(results, options.record)
  } catch (error) {
    say(`stopped: ${(error as Error).message}`)
    process.exitCode = 2
  }
}
