import { type ChildProcess, spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { execPath } from 'node:process'

import Database from 'better-sqlite3'

import { epochFiles } from '../../src/audit/file.ts'
import { LogReader } from '../../src/audit/query.ts'
import { send } from '../support/client.ts'
import { answer, FakeUpstream } from '../support/fake-upstream.ts'
import { Seeded } from '../support/seeded.ts'
import { ChildGovernor, configText, type Entry, ROOT, Site } from '../support/start-governor.ts'
import { TRACED_ENV } from '../support/strace.ts'
import { until } from '../support/until.ts'
import { type AnswerSeen, audit, type CrashReport, type UpstreamSaw } from './crash-audit.ts'

/**
 * The matrix of faults: each system call that the audit thread of a running sidecar makes, and each
 * that a start or a command makes on the log's files, fails with EIO, ENOSPC and EINTR, or is where the
 * process is killed. Afterwards the audit is asked what crash-audit.ts asks it.
 */
export interface FaultOptions {
  readonly directory: string
  readonly seed: number
  /** How many fields of the matrix to try, chosen by the seed; all when absent. */
  readonly fieldsMax?: number
  /** One fault, chosen by the seed, for each call of the writer and each third one of a command; no starts. */
  readonly isShort?: boolean
  readonly say?: (line: string) => void
}

export interface FaultReport extends CrashReport {
  readonly fields: number
  /** System calls found, by who makes them. */
  readonly callsMade: Readonly<Record<string, readonly string[]>>
  /** Calls answered 503 because they could not be recorded. */
  readonly refused: number
  /** Fields in which /readyz was seen red. */
  readonly red: number
  readonly epochs: number
}

const ERRORS = ['error=EIO', 'error=ENOSPC', 'error=EINTR', 'signal=SIGKILL'] as const
type Who = 'run' | 'start' | 'command'
interface Field {
  readonly who: Who
  readonly call: string
  readonly fault: (typeof ERRORS)[number]
}

const CLIENTS = 4
const FAULT_MS = 700
/** A lock that could not be released ends a file after 30 s. */
const HEALS_MS = 60_000
const SURVEY_MS = 2_500
/** Calls of a thread that no file system answers. */
const NO_FILE = ['close', 'read', 'write', 'epoll_pwait', 'ioctl', 'dup', 'eventfd2', 'poll']

/** Runs the matrix in an empty directory. Rejects when something does not even start or heal. */
export async function faultMatrix(options: FaultOptions): Promise<FaultReport> {
  rmSync(options.directory, { recursive: true, force: true })
  const matrix = await Matrix.open(options)
  try {
    return await matrix.run()
  } finally {
    await matrix.close()
  }
}

class Matrix {
  readonly #options: FaultOptions
  readonly #site: Site
  readonly #key: string
  readonly #upstream: FakeUpstream
  readonly #random: Seeded
  readonly #answers: AnswerSeen[] = []
  readonly #problems: string[] = []
  #child: ChildGovernor | null = null
  #over = false
  #serial = 0
  #refused = 0
  #red = 0
  #keysMade = 0

  private constructor(options: FaultOptions, site: Site, key: string, upstream: FakeUpstream) {
    this.#options = options
    this.#site = site
    this.#key = key
    this.#upstream = upstream
    this.#random = new Seeded(options.seed)
  }

  static async open(options: FaultOptions): Promise<Matrix> {
    const upstream = new FakeUpstream()
    await upstream.open()
    upstream.behaviour = answer()
    const text = configText({ upstream: upstream.url, audit: '{ path: log/audit.db }' })
    const site = new Site(options.directory, text)
    return new Matrix(options, site, await site.createKey(), upstream)
  }

  async close(): Promise<void> {
    this.#over = true
    await this.#child?.kill('SIGKILL')
    await this.#upstream.close()
  }

  async run(): Promise<FaultReport> {
    const { isShort = false } = this.#options
    const start = isShort ? [] : await this.#traced(['run'], [], true)
    const command = await this.#traced(['keys', 'create', '--tenant', 'acme', '--name', 'k'], [])
    await this.#begin()
    const clients = Array.from({ length: CLIENTS }, () => this.#client())
    const found = { start, command, run: await this.#survey() }
    const fields = this.#choose(found)
    for (const [index, field] of fields.entries()) {
      const label = `${field.who} ${field.call} ${field.fault}`
      const ended = await this.#try(field).catch((error: unknown) => {
        this.#problems.push(`${label}: ${(error as Error).message}`)
        return (error as Error).message
      })
      this.#options.say?.(`${index + 1}/${fields.length}: ${label}: ${ended}`)
    }
    await this.#takeOver()
    this.#over = true
    await Promise.all(clients)
    return this.#report(found, fields.length)
  }

  async #report(found: Record<Who, readonly string[]>, fields: number): Promise<FaultReport> {
    const exitCode = await this.#child!.kill('SIGTERM')
    const verified = await this.#site.cli('audit', 'verify', '--strict')
    const calls = this.#upstream.received.map(({ body, sha256 }): UpstreamSaw => {
      return { serial: Number(JSON.parse(body.toString()).seed), sha256 }
    })
    const entries = acknowledged(this.#site.auditPath)
    const report = audit({ entries, answers: this.#answers, calls, exitCode, verified })
    const made = entries.filter(({ body }) => body['action'] === 'keys.create').length
    if (made < this.#keysMade) this.#problems.push(`${this.#keysMade} keys, ${made} entries`)
    return {
      ...report,
      problems: [...this.#problems, ...report.problems],
      fields,
      callsMade: found,
      refused: this.#refused,
      red: this.#red,
      epochs: new Set(entries.map(({ body }) => body['epoch'] ?? 1)).size,
    }
  }

  #choose(found: Record<Who, readonly string[]>): Field[] {
    if (this.#options.isShort === true) return this.#onePass(found)
    const all = (['run', 'start', 'command'] as const).flatMap((who) =>
      found[who].flatMap((call) => ERRORS.map((fault): Field => ({ who, call, fault }))),
    )
    const most = this.#options.fieldsMax ?? all.length
    const chosen: Field[] = []
    while (chosen.length < most && all.length > 0) {
      const [field] = all.splice(most < all.length ? this.#below(all.length) : 0, 1)
      chosen.push(field!)
    }
    return chosen
  }

  #onePass({ run, command }: Record<Who, readonly string[]>): Field[] {
    const field = (who: Who, call: string): Field => ({
      who,
      call,
      fault: this.#random.pick(ERRORS),
    })
    const some = command.filter((_, index) => index % 3 === this.#options.seed % 3)
    return [...run.map((call) => field('run', call)), ...some.map((call) => field('command', call))]
  }

  #below(end: number): number {
    return Math.floor(this.#random.between(0, end))
  }

  async #try(field: Field): Promise<string> {
    if (field.who === 'run') return this.#whileRunning(field)
    const when = 1 + this.#below(4)
    const inject = ['-e', `inject=${field.call}:${field.fault}:when=${when}`]
    if (field.who === 'command') {
      const words = ['keys', 'create', '--tenant', 'acme', '--name', `k${++this.#serial}`]
      await this.#begin()
      await this.#traced(words, inject)
      return `call ${when}`
    }
    await this.#child?.kill('SIGKILL')
    await this.#traced(['run'], inject, true)
    await this.#begin()
    return `call ${when}`
  }

  /** One thread of a loaded sidecar meets the fault for a while; then everything has to be well again. */
  async #whileRunning({ call, fault }: Field): Promise<string> {
    await this.#begin()
    const thread = await this.#auditThread()
    const before = this.#refused
    const kills = fault.startsWith('signal')
    const when = kills ? `${2 + this.#below(20)}` : this.#random.pick(['2+5', '1', '1+'])
    const inject = `inject=${call}:${fault}:when=${when}`
    const strace = traceThread(thread, ['-e', `trace=${call}`, '-e', inject, '-o', '/dev/null'])
    const untilMs = performance.now() + FAULT_MS
    let wasRed = false
    while (performance.now() < untilMs && this.#child?.process.exitCode === null) {
      wasRed ||= (await this.#readyz()) === 503
      await pause(20)
    }
    await detach(strace)
    const refused = this.#refused - before
    if (wasRed) this.#red += 1
    if (this.#isAlive()) await this.#heals()
    else if (!kills) throw new Error(`the sidecar ended: ${this.#child?.stderr.slice(-500)}`)
    return `when=${when}, ${refused} calls refused, ${wasRed ? 'red' : 'not seen red'}`
  }

  /** A last start, for which commands that were killed began long ago: it names their ends. */
  async #takeOver(): Promise<void> {
    await this.#child?.kill('SIGKILL')
    for (const { path } of epochFiles(this.#site.auditPath)) {
      const db = new Database(path)
      db.exec("UPDATE chains SET opened_at = 0 WHERE state = 'open' AND role = 'command'")
      db.close()
    }
    await this.#begin()
  }

  #isAlive(): boolean {
    const child = this.#child?.process
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  async #heals(): Promise<void> {
    await until('/readyz to be green', async () => (await this.#readyz()) === 200, HEALS_MS)
    const before = this.#answers.length
    await until('calls to be answered', () => this.#answers.length > before + CLIENTS, HEALS_MS)
  }

  async #readyz(): Promise<number> {
    const url = this.#child?.adminUrl ?? ''
    return send(url, { method: 'GET', path: '/readyz' }).then(
      ({ status }) => status,
      () => 0,
    )
  }

  /** Starts the sidecar unless it runs; it must start, whatever was left behind. */
  async #begin(): Promise<void> {
    if (!this.#isAlive()) this.#child = await new ChildGovernor(this.#site.file).ready(30_000)
    await until('/readyz to be green', async () => (await this.#readyz()) === 200, HEALS_MS)
  }

  async #client(): Promise<void> {
    while (!this.#over) {
      if (!this.#isAlive()) await pause(20)
      else await this.#call().catch(() => pause(20))
    }
  }

  async #call(): Promise<void> {
    const serial = ++this.#serial
    const messages = [{ role: 'user', content: 'a plain question' }]
    const body = Buffer.from(JSON.stringify({ model: 'gpt-4o', seed: serial, messages }))
    const { status, headers } = await send(this.#child!.url, { key: this.#key, body })
    const code = String(headers['x-governor-code'] ?? '')
    if (status === 503 && code === 'AUDIT_UNAVAILABLE') {
      this.#refused += 1
      await pause(5)
      return
    }
    const requestId = String(headers['x-governor-request-id'])
    this.#answers.push({ serial, requestId, status, code, sha256: sha256(body) })
  }

  /** The thread that syncs the write-ahead log. */
  async #auditThread(): Promise<string> {
    const pid = String(this.#child!.process.pid)
    const file = join(this.#options.directory, 'thread')
    const strace = traceThread(pid, ['-f', '-y', '-e', 'trace=fsync', '-o', file])
    try {
      return await until('the audit thread', () => /^(\d+) .*audit/m.exec(textOf(file))?.[1])
    } finally {
      await detach(strace)
    }
  }

  /** Which calls the audit thread makes on files, under load and in a quiet moment. */
  async #survey(): Promise<string[]> {
    const file = join(this.#options.directory, 'survey')
    const thread = await this.#auditThread()
    const strace = traceThread(thread, ['-e', 'trace=file,desc', '-o', file])
    await pause(SURVEY_MS)
    await detach(strace)
    return callsIn(textOf(file))
  }

  /** Runs a command whose calls on the files of the log are traced; a sidecar is killed when it runs. */
  async #traced(words: readonly string[], inject: readonly string[], isRun = false) {
    const file = join(this.#options.directory, 'trace')
    const log = this.#site.auditPath
    const near = ['', '-wal', '-shm', '-journal', '.lock', '.lock-journal', '.key', '.keys.json']
    const paths = [join(log, '..'), ...near.map((suffix) => log + suffix)]
    const rules = paths.flatMap((path) => ['-P', path])
    const governor = [join(ROOT, 'src/main.ts'), ...words, '--config', this.#site.file]
    const args = ['-f', '-qq', ...rules, ...inject, '-o', file, execPath, ...governor]
    const child = spawn('strace', args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...TRACED_ENV, UPSTREAM_KEY: 'sk-upstream-0123456789abcdefghijklmnop' },
      detached: true,
    })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
    }
    const exited = once(child, 'exit') as Promise<[number | null]>
    if (isRun) {
      const running = () => said.includes('Governor is running.') || child.exitCode !== null
      await until('the sidecar to start or not', () => running() || child.signalCode, 30_000)
      if (child.exitCode === null) killGroup(child)
    }
    const [code] = await exited
    if (!isRun && code === 0) this.#keysMade += 1
    const wasPlain = code === 0 || code === null || /audit|lock|key/i.test(said)
    if (!wasPlain) this.#problems.push(`${words[0]} with ${inject[1]} said: ${said.slice(-300)}`)
    if (/\n {4}at .*\.ts:\d+/.test(said)) {
      this.#problems.push(`${words[0]} with ${inject[1]} shows a stack: ${said.slice(-600)}`)
    }
    return callsIn(textOf(file))
  }
}

/** Without what lies in an ended file behind the entry that its next epoch names as acknowledged last. */
function acknowledged(path: string): Entry[] {
  const reader = LogReader.open(path)
  const stored = reader.last(10_000_000)
  reader.close()
  const ends = new Map<string, number>()
  const entries = stored.map((each) => ({ ...each, body: JSON.parse(each.body) as Entry['body'] }))
  for (const { body } of entries) {
    const { continues } = body as { continues?: { writer_id: string; epoch: number; seq: number } }
    if (continues) ends.set(`${continues.writer_id}:${continues.epoch}`, continues.seq)
  }
  return entries.filter(({ writer, epoch, seq }) => seq <= (ends.get(`${writer}:${epoch}`) ?? seq))
}

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch {
    // It was faster.
  }
}

function traceThread(pid: string, args: readonly string[]): ChildProcess {
  return spawn('strace', ['-qq', '-p', pid, ...args], { stdio: 'ignore' })
}

async function detach(strace: ChildProcess): Promise<void> {
  if (strace.exitCode !== null || strace.signalCode !== null) return
  const exited = once(strace, 'exit')
  strace.kill('SIGINT')
  await exited
}

function callsIn(trace: string): string[] {
  const found = new Set([...trace.matchAll(/^(?:\d+ +)?([a-z]\w+)\(/gm)].map((match) => match[1]!))
  return [...found].filter((call) => !NO_FILE.includes(call)).toSorted()
}

function textOf(file: string): string {
  return existsSync(file) ? readFileSync(file, 'latin1') : ''
}

function sha256(bytes: Buffer): string {
  return hash('sha256', bytes)
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
