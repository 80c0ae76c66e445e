import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { env, execPath } from 'node:process'

import { pause } from './ipc.ts'

const PROBE = new URL('./probe.ts', import.meta.url).pathname
const START_MS = 20_000
const STOP_MS = 30_000
/** The longest answer waited for: a minute of streams and then some. */
const ANSWER_MS = 240_000
const OUTPUT_CHARS_MAX = 20_000

/** Whether processes can be pinned to cores: two of them, and Linux's taskset. */
export const canPin =
  availableParallelism() >= 2 && spawnSync('taskset', ['-c', '0', 'true']).status === 0

/** Proxies have a core of their own; load and upstream share the other one. */
export const CORE = { load: 0, proxy: 1 } as const

export interface ChildOptions {
  readonly name: string
  /** Script and its arguments, after Node's own flags. */
  readonly command: readonly string[]
  readonly core: keyof typeof CORE
  readonly nodeFlags?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** Finds the address in what the process prints; absent: it sends it as a message. */
  readonly urlFrom?: (output: string) => string | null
}

/** A process of the bench: pinned, watched, and asked things over IPC, one at a time. */
export class Child {
  readonly name: string
  readonly #process: ChildProcess
  #output = ''
  #exited = false
  url = ''

  private constructor(name: string, child: ChildProcess) {
    this.name = name
    this.#process = child
    child.on('exit', () => (this.#exited = true))
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_CHARS_MAX)
      })
    }
  }

  get pid(): number {
    return this.#process.pid!
  }

  /** Starts it and waits for its address. Rejects with what it printed when it ends instead. */
  static async start(options: ChildOptions): Promise<Child> {
    const { name, command, core, nodeFlags = [], environment = {}, urlFrom } = options
    const node = [execPath, '--import', PROBE, ...nodeFlags, ...command]
    const pinned = canPin ? ['taskset', '-c', String(CORE[core]), ...node] : node
    const running = spawn(pinned[0]!, pinned.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...env, ...environment },
    })
    const child = new Child(name, running)
    const url =
      urlFrom === undefined
        ? child.#message<{ url: string }>('url', START_MS).then((message) => message.url)
        : child.#printed(urlFrom)
    child.url = await url
    return child
  }

  /** Sends `{ ask, … }` and resolves with the answer, the message that has `ask` as its `about`. */
  async ask<Answer>(ask: string, question: object = {}): Promise<Answer> {
    const answer = this.#message<Answer>(ask, ANSWER_MS)
    this.#process.send({ ask, ...question })
    return answer
  }

  /** SIGTERM, and SIGKILL when it does not end. */
  async stop(): Promise<void> {
    if (this.#exited) return
    const exit = once(this.#process, 'exit')
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_MS)
    await exit
    clearTimeout(timer)
  }

  async #printed(urlFrom: (output: string) => string | null): Promise<string> {
    const deadline = performance.now() + START_MS
    while (performance.now() < deadline && !this.#exited) {
      const url = urlFrom(this.#output)
      if (url !== null) return url
      await pause(20)
    }
    throw this.#broken('did not start')
  }

  #message<Message>(about: string, timeMs: number): Promise<Message> {
    return new Promise((resolve, reject) => {
      const done = (then: () => void): void => {
        clearTimeout(timer)
        this.#process.off('message', onMessage).off('exit', onExit)
        then()
      }
      const onMessage = (message: { about?: string }): void => {
        if (message.about === about) done(() => resolve(message as Message))
      }
      const onExit = (): void => done(() => reject(this.#broken('ended')))
      const timer = setTimeout(
        () => done(() => reject(this.#broken(`did not answer "${about}"`))),
        timeMs,
      )
      this.#process.on('message', onMessage).on('exit', onExit)
    })
  }

  #broken(what: string): Error {
    return new Error(`${this.name} ${what}. It printed:\n${this.#output}`)
  }
}
