import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { env as processEnv, execPath } from 'node:process'
import { fileURLToPath } from 'node:url'

import { epochFiles, openForReading } from '../../src/audit/file.ts'
import { LogReader } from '../../src/audit/query.ts'
import type { Snapshot } from '../../src/config/snapshot.ts'
import { Governor } from '../../src/governor.ts'
import { commandAdmin, createKey, openKeyStore } from '../../src/key-admin.ts'
import { loadConfig, renderProblems } from '../../src/load-config.ts'
import { createLog } from '../../src/log.ts'
import { type Answered, send, type Sent } from './client.ts'
import { ownDirectory } from './own-directory.ts'
import { until } from './until.ts'

/** What the upstream gets as its key in every test. */
export const UPSTREAM_KEY = 'sk-upstream-0123456789abcdefghijklmnopqrstuvwxyz'
const ENV = { UPSTREAM_KEY }
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MAIN = join(ROOT, 'src/main.ts')

interface Test {
  testdir(): string
  teardown(then: () => unknown): void
}

/** The sections of a configuration that tests change; each is YAML in flow form. */
export interface Sections {
  /** Address of the upstream; the built-in echo when absent. */
  readonly upstream?: string
  /** `openai` when absent. */
  readonly dialect?: string
  /** More keys of the upstream, in flow form. */
  readonly more?: string
  /** More upstreams, each in flow form. */
  readonly upstreams?: readonly string[]
  readonly listen?: string
  readonly pod?: string
  /** `auth.keys` */
  readonly keys?: string
  /** `auth.jwt` */
  readonly jwt?: string
  readonly usage?: 'ask' | 'observe'
  readonly limits?: string
  readonly policies?: string
  readonly detectors?: string
  readonly prices?: string
  /** `limit_store` */
  readonly store?: string
  readonly ownership?: string
  readonly audit?: string
  readonly maximums?: string
  readonly defaults?: string
  readonly operations?: string
  readonly timeouts?: string
  /** As written in the file. */
  readonly credential?: string
}

const POLICIES = `
  - id: approved-models
    allow: { operations: [chat, embeddings, models], models: ['gpt-4o*', 'text-embedding-*'] }
  - id: no-frontier
    deny: { models: ['gpt-5*'] }
    message: Frontier models need an approval
  - id: codename
    deny: { input: { matches: '(?i)project[- ]zeus' } }
    message: This project stays inside`

function usualCredential(upstream: string): string {
  return upstream.startsWith('echo:') ? 'none' : `'\${UPSTREAM_KEY}'`
}

function optional(key: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`${key}: ${value}`]
}

function upstreamLines(sections: Sections): string[] {
  const { upstream = 'echo:', usage = 'observe', dialect = 'openai', upstreams = [] } = sections
  const credential = sections.credential ?? usualCredential(upstream)
  const more = sections.more === undefined ? '' : `, ${sections.more}`
  const first = `{ name: up, dialect: ${dialect}, url: '${upstream}', credential: ${credential}, usage: ${usage}${more} }`
  return [first, ...upstreams].map((each) => `  - ${each}`)
}

/** Text of a governance.yaml that allows gpt-4o, denies gpt-5 and the words "project zeus". */
export function configText(sections: Sections = {}): string {
  const { policies = POLICIES, detectors } = sections
  const lines = [
    'version: 1',
    `listen: ${sections.listen ?? "{ proxy: '127.0.0.1:0', admin: '127.0.0.1:0' }"}`,
    'upstreams:',
    ...upstreamLines(sections),
    'auth:',
    `  keys: ${sections.keys ?? '{ store: sqlite, path: keys.db, bcrypt_cost: 10 }'}`,
    ...optional('  pod', sections.pod),
    ...optional('  jwt', sections.jwt),
    `limits: ${sections.limits ?? '[]'}`,
    `policies: ${policies}`,
    ...optional('detectors', detectors),
    ...optional('prices', sections.prices),
    ...optional('limit_store', sections.store),
    ...optional('ownership', sections.ownership),
    `audit: ${sections.audit ?? '{ path: audit.db }'}`,
    ...optional('defaults', sections.defaults),
    ...optional('operations', sections.operations),
    `maximums: ${sections.maximums ?? '{}'}`,
    `timeouts: ${sections.timeouts ?? '{}'}`,
  ]
  return `${lines.join('\n')}\n`
}

/** Puts a configuration in place as an editor does, whole. */
export function writeConfig(file: string, text: string): void {
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
}

/** An entry of the audit, as a test looks at it. */
export interface Entry {
  readonly kind: string
  readonly requestId: string
  readonly body: Record<string, unknown> & {
    readonly decision?: string
    readonly outcome?: string
    readonly code?: string
    readonly status?: number
    readonly policy?: string
  }
}

/** All entries of a log, oldest first, its epochs together. */
export function entriesIn(path: string): Entry[] {
  if (!existsSync(path)) return []
  const reader = LogReader.open(path)
  try {
    return reader.last(10_000_000).map(({ kind, requestId, body }) => {
      return { kind, requestId, body: JSON.parse(body) as Entry['body'] }
    })
  } finally {
    reader.close()
  }
}

/** A directory with a configuration in it, and a key to call with. */
export class Site {
  readonly directory: string
  readonly file: string
  readonly auditPath: string
  readonly keysPath: string
  readonly env: Readonly<Record<string, string>>
  key = ''

  constructor(directory: string, text: string, env: Readonly<Record<string, string>> = ENV) {
    this.env = env
    mkdirSync(directory, { recursive: true })
    this.directory = directory
    this.file = join(directory, 'governance.yaml')
    writeConfig(this.file, text)
    const { audit, auth } = this.load()
    this.auditPath = audit.path
    this.keysPath = auth.keys.path
  }

  load(): Snapshot {
    const loaded = loadConfig(this.file, { env: this.env, forRun: true })
    if (!loaded.ok) throw new Error(renderProblems(loaded.problems))
    return loaded.snapshot
  }

  async createKey(name = 'test', roles: readonly string[] = [], tenant = 'acme'): Promise<string> {
    const store = await openKeyStore(this.load())
    const spec = { tenant, name, user: '', roles, labels: {}, expiresAtMs: null }
    const admin = commandAdmin(store, { snapshot: this.load(), version: 'test' })
    const made = await createKey(admin, spec)
    await store.close()
    return made.key
  }

  entries(): Entry[] {
    return entriesIn(this.auditPath)
  }

  /** Hex hashes of all entries, its epochs together. */
  hashes(): string[] {
    return epochFiles(this.auditPath).flatMap(({ path }) => {
      const db = openForReading(path)
      try {
        return db.prepare<[], string>('SELECT lower(hex(hash)) FROM entries').pluck().all()
      } finally {
        db.close()
      }
    })
  }

  /** The entries of one call, once `count` of them are there. */
  entriesOf(requestId: string, count: number): Promise<Entry[]> {
    return until(`${count} entries of ${requestId}`, () => {
      const found = this.entries().filter((entry) => entry.requestId === requestId)
      return found.length >= count ? found : null
    })
  }

  /** Bodies of the first entries of a kind, in the order they were written. */
  bodiesOf(kind: string, count: number): Promise<Entry['body'][]> {
    return until(`${count} entries of ${kind}`, () => {
      const found = this.entries().filter((entry) => entry.kind === kind)
      return found.length >= count ? found.map(({ body }) => body) : null
    })
  }

  /** Runs a command of the real command line. */
  cli(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const [command = '', ...rest] = args
    const isGroup = command === 'keys' || command === 'audit'
    const words = isGroup ? [command, rest[0] ?? ''] : [command]
    const given = isGroup ? rest.slice(1) : rest
    return new Promise((resolve) => {
      execFile(
        execPath,
        [MAIN, ...words, '--config', this.file, ...given],
        { env: childEnv(), maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
        },
      )
    })
  }
}

/** A Governor in this process. */
export class InProcess extends Site {
  governor!: Governor
  readonly logLines: string[] = []

  async open(): Promise<void> {
    const log = createLog('debug', { write: (line) => void this.logLines.push(line) })
    this.governor = await Governor.start({ snapshot: this.load(), log, version: 'test' })
  }

  get url(): string {
    return `http://127.0.0.1:${this.governor.proxy.port}`
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${this.governor.admin!.port}`
  }

  /** Calls with the site's own key, unless the call says otherwise. */
  send(sent: Sent): Promise<Answered> {
    return send(this.url, { key: this.key, ...sent })
  }

  admin(path: string): Promise<Answered> {
    return send(this.adminUrl, { method: 'GET', path })
  }

  /** The sum of a metric over its series whose labels hold all of `labels`. */
  async metric(name: string, ...labels: readonly string[]): Promise<number> {
    const { text } = await this.admin('/metrics')
    return text
      .split('\n')
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .filter((line) => labels.every((label) => line.includes(label)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }
}

/** Starts a Governor in this process; it is stopped when the test ends. */
export async function startGovernor(t: Test, sections: Sections = {}): Promise<InProcess> {
  const site = new InProcess(ownDirectory(t), configText(sections))
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  return site
}

function childEnv(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, NODE_V8_COVERAGE } = processEnv
  return {
    PATH,
    HOME,
    ...(NODE_V8_COVERAGE !== undefined && { NODE_V8_COVERAGE }),
    NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/governor'),
    ...ENV,
    ...more,
  }
}

/** A Governor in a process of its own: what it printed, where it listens, how it ended. */
export class ChildGovernor {
  readonly process: ChildProcess
  readonly exited: Promise<number | null>
  stdout = ''
  stderr = ''

  constructor(
    file: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.process = spawn(execPath, [MAIN, 'run', '--config', file, ...args], {
      env: childEnv(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.process.stdout!.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
    })
    this.process.stderr!.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
    this.exited = once(this.process, 'exit').then(([code]) => code as number | null)
  }

  /** Resolves when it says that it is running. */
  async ready(withinMs = 60_000): Promise<this> {
    await until(
      'the sidecar to run',
      () => {
        if (this.process.exitCode !== null) throw new Error(`${this.stdout}\n${this.stderr}`)
        return this.stdout.includes('Governor is running.') && this.address('admin') !== ''
      },
      withinMs,
    )
    return this
  }

  get url(): string {
    return this.address('proxy')
  }

  get adminUrl(): string {
    return this.address('admin')
  }

  private address(name: string): string {
    return new RegExp(`^ {2}${name} +(http://\\S+)`, 'm').exec(this.stdout)?.[1] ?? ''
  }

  async kill(signal: NodeJS.Signals): Promise<number | null> {
    this.process.kill(signal)
    return this.exited
  }
}

/** Starts a Governor in a process of its own; it is killed when the test ends. */
export async function startChild(
  t: Test,
  site: Site,
  args: readonly string[] = [],
): Promise<ChildGovernor> {
  const child = new ChildGovernor(site.file, args)
  t.teardown(() => child.kill('SIGKILL'))
  return child.ready()
}
