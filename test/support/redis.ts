import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { env } from 'node:process'

import { Redis } from 'ioredis'

import { aptInstall, CAN_INSTALL } from './apt.ts'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

/** A real Redis for tests: of one's own where it is to be killed, paused or emptied. */

interface Test {
  teardown(then: () => unknown): void
}

const WAYS =
  'No Redis to test with: set TEST_REDIS_URL, or put redis-server or valkey-server on the PATH, ' +
  'or run as root on Debian, where it is installed'

function find(): string | null {
  for (const name of ['redis-server', 'valkey-server']) {
    if (spawnSync(name, ['--version']).status === 0) return name
  }
  return null
}

/** The name of a server that can be started. Throws an Error that names the ways to have one. */
export function redisServer(): string {
  const found = find()
  if (found !== null) return found
  if (!CAN_INSTALL) throw new Error(WAYS)
  try {
    aptInstall('redis-server')
  } catch (error) {
    throw new Error(WAYS, { cause: error })
  }
  return find() ?? 'redis-server'
}

/** A server on a port of its own, that keeps nothing. */
export class RedisServer {
  readonly port: number
  /** What it was started with, beside what all are. */
  readonly args: readonly string[]
  #process!: ChildProcess

  private constructor(port: number, args: readonly string[]) {
    this.port = port
    this.args = args
  }

  /** `file`: its configuration, which it may write to. */
  static async start(t: Test, args: readonly string[] = [], file?: string): Promise<RedisServer> {
    const own = file === undefined ? [] : [file]
    const server = new RedisServer(await freePort(), [...own, ...args])
    await server.open()
    t.teardown(() => server.kill())
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Starts it, empty. */
  async open(): Promise<void> {
    const fixed = ['--port', String(this.port), '--save', '', '--dir', tmpdir()]
    this.#process = spawn(redisServer(), [...this.args, ...fixed], { stdio: 'ignore' })
    await until('Redis to answer', () => this.#hasEnded() || this.#answers(), 60_000)
    if (this.#hasEnded()) throw new Error(`Redis ended at once: is port ${this.port} taken?`)
  }

  /** Where a store finds it. */
  get place(): string {
    return this.url
  }

  /** As if it had just been started. */
  async empty(): Promise<void> {
    const client = new Redis(this.url)
    await client.flushall()
    client.disconnect()
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  async kill(): Promise<void> {
    if (this.#hasEnded()) return
    this.#process.kill('SIGKILL')
    await once(this.#process, 'exit')
  }

  #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null
  }

  /** Any answer will do, be it that a password is missing. */
  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.port, '127.0.0.1', () => socket.write('PING\r\n'))
      socket.on('data', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
  }
}

/** The address of an empty Redis that tests may share. */
export async function redisUrl(t: Test): Promise<string> {
  const given = env['TEST_REDIS_URL']
  if (given === undefined) return (await RedisServer.start(t)).url
  const client = new Redis(given)
  await client.flushdb()
  client.disconnect()
  return given
}
