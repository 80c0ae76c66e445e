import { spawn } from 'node:child_process'
import { hash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { mock } from 'node:test'

import Database from 'better-sqlite3'

import { Signer } from '../src/audit/signing-key.ts'
import { verifyLog } from '../src/audit/verify.ts'
import { own, Writer } from '../src/audit/writer.ts'
import { monotonicMs, wallMs } from '../src/clock.ts'
import { timeShipping } from './audit-shipped.ts'
import { measureWait, type Waited } from './audit-wait.ts'
import { median } from './statistics.ts'

/** What the audit log costs by itself: beside the same disk, the same bytes and no chain. */

/** Two rates taken in turns; each is the median over the rounds. */
export interface Compared {
  readonly rows: number
  readonly rowsPerSecond: number
  readonly barePerSecond: number
  readonly ratio: number
}

/** A command on a small and on a large log: how long, and the most memory it ever had. */
export interface Grown {
  readonly command: string
  readonly fewMs: number
  readonly manyMs: number
  readonly fewBytes: number
  readonly manyBytes: number
}

export interface AuditCost {
  readonly durable: Compared
  readonly verify: Compared
  readonly shipped: Compared
  readonly waited: Waited
  readonly few: number
  readonly many: number
  readonly grown: readonly Grown[]
}

export interface AuditPlan {
  readonly rounds: number
  /** Commits of one round, 32 entries each. */
  readonly commits: number
  readonly verifyRows: number
  readonly shipRows: number
  /** How long entries are offered for, at half the rate of `durable`. */
  readonly waitMs: number
  readonly few: number
  readonly many: number
  /** On a real disk. */
  readonly directory: string
  readonly say: (text: string) => void
}

const BATCH = 32
const BODY_BYTES = 1_100
const SMALL_BODY_BYTES = 300
const LOAD_BATCH = 1_000
const MAIN = new URL('../src/main.ts', import.meta.url).pathname
const DAY_MS = 86_400_000
const OLD_MS = 10 * DAY_MS

/** Measures all of it: about two minutes, or seconds when the plan is small. */
export async function measureAudit(plan: AuditPlan): Promise<AuditCost> {
  const directory = join(plan.directory, 'audit')
  mkdirSync(directory, { recursive: true })
  plan.say('audit, durable entries')
  const durable = compareDurable(directory, plan)
  plan.say('audit, verifying')
  const verify = compareVerify(directory, plan)
  plan.say('audit, waiting at half that load')
  const waited = await measureWait({
    directory,
    entriesPerSecond: durable.rowsPerSecond / 2,
    forMs: plan.waitMs,
    bodyOf: (seq) => bodyOf(seq, BODY_BYTES),
  })
  plan.say('audit, shipping')
  const shipped = await compareShipping(directory, plan)
  const grown: Grown[] = []
  const few = await site(join(directory, 'few'), plan.few, plan.say)
  const many = await site(join(directory, 'many'), plan.many, plan.say)
  for (const words of COMMANDS) {
    plan.say(`audit, ${words.join(' ')} of ${plan.many} entries`)
    const [small, large] = [await run(few, words), await run(many, words)]
    grown.push({
      command: words.join(' '),
      fewMs: small.tookMs,
      manyMs: large.tookMs,
      fewBytes: small.bytes,
      manyBytes: large.bytes,
    })
  }
  const left = statSync(join(directory, 'many', 'audit.db')).size
  if (left > plan.many * SMALL_BODY_BYTES) throw new Error('audit prune took nothing away')
  return { durable, verify, shipped, waited, few: plan.few, many: plan.many, grown }
}

/** Prune comes last: it takes the entries away. */
const COMMANDS = [
  ['query', '--tenant', 'acme', '--limit', '1000'],
  ['verify'],
  ['export'],
  ['prune'],
] as const

function compareDurable(directory: string, { rounds, commits }: AuditPlan): Compared {
  const body = Buffer.from(bodyOf(1, BODY_BYTES))
  const ours: number[] = []
  const bare: number[] = []
  const rows = commits * BATCH
  for (let round = 0; round < rounds; round++) {
    const writer = openWriter(join(directory, `durable-${round}.db`), false)
    const file = new Database(join(directory, `bare-${round}.db`))
    const insert = bareTable(file)
    ours.push(
      perSecond(rows, () => {
        for (let commit = 0; commit < commits; commit++) {
          writer.begin()
          for (let at = 0; at < BATCH; at++) writer.append(entryOf(commit * BATCH + at, body))
          writer.commit()
        }
      }),
    )
    bare.push(
      perSecond(rows, () => {
        for (let commit = 0; commit < commits; commit++) {
          file.exec('BEGIN IMMEDIATE')
          for (let at = 0; at < BATCH; at++) insert(commit * BATCH + at, body)
          file.exec('COMMIT')
        }
      }),
    )
    writer.close()
    file.close()
  }
  return compared(rows, ours, bare)
}

/** The same bytes in a table without a chain: what SQLite and the disk take by themselves. */
function bareTable(file: Database.Database): (seq: number, body: Buffer) => void {
  file.pragma('journal_mode = WAL')
  file.pragma('synchronous = FULL')
  file.pragma('wal_autocheckpoint = 0')
  file.exec(`CREATE TABLE entries (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL,
    request_id TEXT NOT NULL, body BLOB NOT NULL) STRICT`)
  const insert = file.prepare('INSERT INTO entries (seq, request_id, body) VALUES (?, ?, ?)')
  return (seq, body) => void insert.run(seq, requestId(seq), body)
}

function compareVerify(directory: string, { rounds, verifyRows }: AuditPlan): Compared {
  const path = join(directory, 'verify.db')
  fill(path, verifyRows, BODY_BYTES)
  const ours: number[] = []
  const bare: number[] = []
  for (let round = 0; round < rounds; round++) {
    ours.push(
      perSecond(verifyRows, () => {
        const { exitCode } = verifyLog(path, { strict: true })
        if (exitCode !== 0) throw new Error(`verify ended with ${exitCode}`)
      }),
    )
    bare.push(perSecond(verifyRows, () => selectAndHash(path)))
  }
  rmSync(path)
  return compared(verifyRows, ours, bare)
}

/** Into one server, in turns. */
async function compareShipping(directory: string, plan: AuditPlan): Promise<Compared> {
  const path = join(directory, 'ship.db')
  fill(path, plan.shipRows, BODY_BYTES)
  const { ours, bare } = await timeShipping(path, plan.rounds)
  rmSync(path)
  const rate = (seconds: number) => plan.shipRows / seconds
  return compared(plan.shipRows, ours.map(rate), bare.map(rate))
}

function selectAndHash(path: string): void {
  const file = new Database(path, { readonly: true })
  const rows = file.prepare<[], { body: Buffer }>('SELECT * FROM entries ORDER BY id').iterate()
  for (const { body } of rows) hash('sha256', body, 'buffer')
  file.close()
}

function compared(rows: number, ours: number[], bare: number[]): Compared {
  const ratio = median(ours.map((rate, round) => rate / bare[round]!))
  return { rows, rowsPerSecond: median(ours), barePerSecond: median(bare), ratio }
}

function perSecond(rows: number, work: () => void): number {
  const startedMs = performance.now()
  work()
  return (rows / (performance.now() - startedMs)) * 1000
}

/** A configuration, and a log whose entries are old enough to be pruned. */
async function site(
  directory: string,
  entries: number,
  say: AuditPlan['say'],
): Promise<{ readonly config: string }> {
  say(`audit, a log of ${entries} entries`)
  mkdirSync(directory, { recursive: true })
  const config = join(directory, 'governance.yaml')
  const lines = [
    'version: 1',
    "listen: { proxy: '127.0.0.1:0', admin: '127.0.0.1:0' }",
    "upstreams: [{ name: up, dialect: openai, url: 'echo:', credential: none }]",
    'auth: { keys: { store: sqlite, path: keys.db } }',
    'policies: []',
    'audit: { path: audit.db, retention: 1d }',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  // Pruning goes by the times of checkpoints, which the log takes from the clock.
  mock.timers.enable({ apis: ['Date'], now: wallMs() - OLD_MS })
  try {
    fill(join(directory, 'audit.db'), entries, SMALL_BODY_BYTES)
  } finally {
    mock.timers.reset()
  }
  return { config }
}

function fill(path: string, entries: number, bodyBytes: number): void {
  const writer = openWriter(path, true)
  for (let made = 0; made < entries;) {
    writer.begin()
    const end = Math.min(entries, made + LOAD_BATCH)
    for (; made < end; made++) writer.append(entryOf(made, Buffer.from(bodyOf(made, bodyBytes))))
    writer.commit()
    writer.prepareCheckpoint(monotonicMs())
    if (made % (50 * LOAD_BATCH) === 0) writer.checkpoint()
  }
  writer.close()
}

function openWriter(path: string, signs: boolean): Writer {
  return new Writer({
    path,
    epoch: 1,
    writerId: randomBytes(16),
    role: 'run',
    version: 'bench',
    busyMs: 1000,
    pageBytesMax: 0,
    recover: false,
    continues: null,
    openCalls: [],
    signer: signs ? Signer.open(path, wallMs() - 30 * DAY_MS) : null,
  })
}

function entryOf(seq: number, body: Uint8Array) {
  const occurredAtUs = (wallMs() - 10 * DAY_MS) * 1000
  return { ...own('decision', requestId(seq), occurredAtUs, ''), body }
}

function requestId(seq: number): string {
  return `01a2b3c4-0000-7000-8000-${String(seq).padStart(12, '0')}`
}

/** A refusal, so that no outcome has to follow. */
function bodyOf(seq: number, bytes: number): string {
  const said = {
    kind: 'decision',
    time: new Date(wallMs() - 10 * DAY_MS).toISOString(),
    request_id: requestId(seq),
    tenant: seq % 1000 === 0 ? 'acme' : 'others',
    decision: 'deny',
    status: 403,
    code: 'POLICY_DENIED',
    pad: '',
  }
  said.pad = 'x'.repeat(Math.max(0, bytes - JSON.stringify(said).length))
  return JSON.stringify(said)
}

async function run(
  { config }: { readonly config: string },
  words: readonly string[],
): Promise<{ tookMs: number; bytes: number }> {
  const startedMs = performance.now()
  const child = spawn(execPath, [MAIN, 'audit', ...words, '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  let bytes = 0
  const look = setInterval(() => {
    bytes = Math.max(bytes, peakBytes(child.pid ?? 0))
  }, 20)
  const [code] = (await once(child, 'exit')) as [number | null]
  clearInterval(look)
  if (code !== 0) throw new Error(`audit ${words[0]} ended with ${code}: ${said}`)
  return { tookMs: performance.now() - startedMs, bytes }
}

/** The most resident memory the process ever had, as Linux counts it; 0 when it has gone. */
function peakBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
