import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { Epochs } from '../../src/audit/epochs.ts'
import { epochFiles } from '../../src/audit/file.ts'
import { takeLock } from '../../src/audit/lock.ts'
import { Signer } from '../../src/audit/signing-key.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { wallMs } from '../../src/clock.ts'
import { rows } from '../audit/support/log.ts'
import { Seeded } from '../support/seeded.ts'
import { TRACED_ENV } from '../support/strace.ts'
import { type Loss, LOSSES, PowerDisk } from './power-disk.ts'
import { type DiskEvent, readTrace, TRACE_ARGS } from './power-trace.ts'

/**
 * Power loss, replayed: lives of a writer are traced, and at each chosen point of what they did the
 * disk is made anew as a power loss may have left it. Then the log is verified as it was found, opened as
 * a sidecar opens it, and verified again; every entry that was acknowledged before that point has
 * to be there.
 */
export interface PowerOptions {
  readonly directory: string
  /** Points in all, former runs in the same directory included. */
  readonly times: number
  readonly seed: number
  /** Points of one recording. */
  readonly pointsEach?: number
  /** Entries of one life. */
  readonly recordsEach?: number
  readonly say?: (line: string) => void
  /** A disk that says it synced and did not: to show that a loss is seen. */
  readonly isLying?: boolean
}

export interface PowerReport {
  readonly problems: readonly string[]
  readonly points: number
  readonly recordings: number
  /** Acknowledged entries that were looked for, summed over the points. */
  readonly acknowledged: number
  readonly losses: Readonly<Record<string, number>>
  /** How often verify had to say, before a sidecar had opened the log, that it cannot tell yet. */
  readonly untold: number
}

interface State {
  untold: number
  points: number
  recordings: number
  acknowledged: number
  losses: Record<string, number>
  problems: string[]
}

const CHILD = fileURLToPath(new URL('../audit/support/power-child.ts', import.meta.url))
const PROBLEMS_MAX = 50
const NO_FAULT = ''
/** What strace does to a life; most have none, since only then everything is acknowledged. */
const FAULTS = [
  NO_FAULT,
  NO_FAULT,
  'fsync:error=EIO:when=25',
  'fsync:error=EIO:when=14+19',
  'pwrite64:error=EIO:when=90',
  'pwrite64:error=ENOSPC:when=120+90',
] as const

/** Records and replays until there were `times` points. Takes up what it finds in the directory. */
export async function powerCampaign(options: PowerOptions): Promise<PowerReport> {
  const { directory, times, seed, say } = options
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'state.json')
  const state: State = existsSync(file)
    ? (JSON.parse(readFileSync(file, 'utf8')) as State)
    : { points: 0, recordings: 0, acknowledged: 0, losses: {}, untold: 0, problems: [] }
  while (state.points < times && state.problems.length < PROBLEMS_MAX) {
    const random = new Seeded(seed * 1_000_003 + state.recordings)
    const events = await record(options, random)
    const most = Math.min(options.pointsEach ?? 250, times - state.points)
    replay(options, { events, random, most, state })
    state.recordings++
    writeFileSync(file, JSON.stringify(state))
    say?.(`${state.points}/${times} points, ${state.problems.length} problems`)
  }
  return state
}

/** Two or three lives of a writer on the same files. */
async function record(options: PowerOptions, random: Seeded): Promise<DiskEvent[]> {
  const root = join(options.directory, 'recorded')
  rmSync(root, { recursive: true, force: true })
  mkdirSync(root, { recursive: true })
  const events: DiskEvent[] = []
  const lives = random.next() < 0.5 ? 2 : 3
  for (let life = 0; life < lives; life++) {
    const fault = random.pick(FAULTS)
    const end = random.next() < 0.4 ? 'close' : 'kill'
    const trace = join(options.directory, 'trace')
    const records = options.recordsEach ?? 60
    const child = [CHILD, logIn(root), `k${life}`, `${random.between(0, 2 ** 31)}`]
    const { error } = spawnSync(
      'strace',
      [
        ...TRACE_ARGS,
        ...(fault === NO_FAULT ? [] : ['-e', `inject=${fault}`]),
        '-o',
        trace,
        process.execPath,
        ...child,
        String(records),
        end,
      ],
      { stdio: ['ignore', 'ignore', 'inherit'], timeout: 60_000, env: TRACED_ENV },
    )
    if (error !== undefined) throw error
    for await (const event of readTrace(trace)) events.push(event)
    rmSync(trace)
  }
  return events
}

/** Below a directory that does not exist yet, as with a first start. */
function logIn(root: string): string {
  return join(root, 'data/audit.db')
}

interface Recording {
  readonly events: readonly DiskEvent[]
  readonly random: Seeded
  readonly most: number
  readonly state: State
}

function replay(options: PowerOptions, recording: Recording): void {
  const { events, random, most, state } = recording
  const disk = new PowerDisk(join(options.directory, 'recorded'))
  const said = new Set<string>()
  const chosen = choose(events, most, random)
  const found = join(options.directory, 'found')
  events.forEach((event, index) => {
    if (options.isLying !== true || !event.kind.startsWith('sync')) disk.take(event)
    if (event.kind === 'said') said.add(event.line)
    for (const loss of chosen.get(index) ?? []) {
      disk.rebuild(found, loss, random)
      state.points++
      state.acknowledged += said.size
      state.losses[loss] = (state.losses[loss] ?? 0) + 1
      const where = `Recording ${state.recordings}, event ${index} (${event.kind}), ${loss}`
      const path = logIn(found)
      const problems = examine(path, said, state).map((problem) => `${where}: ${problem}`)
      state.problems.push(...problems.slice(0, PROBLEMS_MAX - state.problems.length))
    }
  })
}

/** Half of the points follow an acknowledgement at once, the others lie anywhere. */
function choose(
  events: readonly DiskEvent[],
  most: number,
  random: Seeded,
): ReadonlyMap<number, readonly Loss[]> {
  const said = events.flatMap(({ kind }, index) => (kind === 'said' ? [index] : []))
  const chosen = new Map<number, Loss[]>()
  for (let point = 0; point < most; point++) {
    const anywhere = Math.floor(random.between(0, events.length))
    const index = point % 2 === 0 && said.length > 0 ? random.pick(said) : anywhere
    const losses = chosen.get(index) ?? []
    losses.push(LOSSES[Math.floor(point / 2) % LOSSES.length]!)
    chosen.set(index, losses)
  }
  return chosen
}

/** What is wrong with a log after a power loss; it is opened as a sidecar opens it. */
function examine(path: string, acknowledged: ReadonlySet<string>, state: State): string[] {
  const problems: string[] = []
  // A file that was being made may not be readable before somebody who may write has opened it.
  const { exitCode, problems: found } = verifyLog(path, { strict: false })
  if (exitCode === 2 && acknowledged.size > 0) state.untold++
  if (exitCode === 1) problems.push(`verify ends with 1 as found: ${found[0]?.what}`)
  try {
    recover(path)
  } catch (error) {
    return [...problems, `it cannot be opened: ${(error as Error).message}`]
  }
  const recovered = verifyLog(path, { strict: true })
  if (recovered.exitCode !== 0) {
    const [first] = [...recovered.problems, ...recovered.notes]
    problems.push(`verify ends with ${recovered.exitCode} as recovered: ${JSON.stringify(first)}`)
  }
  const kept = new Set<string>()
  for (const file of epochFiles(path)) {
    try {
      for (const { request_id, kind, body } of rows(file.path)) {
        kept.add(kind === 'admin' ? String(body['action']) : request_id)
      }
    } catch (error) {
      problems.push(`it cannot be read: ${(error as Error).message}`)
    }
  }
  const lost = [...acknowledged].filter((id) => !kept.has(id))
  if (lost.length > 0) problems.push(`${lost.length} acknowledged entries are lost: ${lost[0]}`)
  return problems
}

/** What the audit thread does when a sidecar starts and when it ends. */
function recover(path: string): void {
  const lock = takeLock(path, wallMs())
  try {
    const log = new Epochs({
      path,
      writerId: Buffer.alloc(16, 9),
      role: 'run',
      version: 'test',
      busyMs: 1000,
      localBytesMax: 2 ** 30,
      recover: true,
      signer: Signer.open(path, wallMs()),
    })
    log.close()
  } finally {
    lock.release()
  }
}
