import { open } from 'node:fs/promises'
import { dirname } from 'node:path'

import { makeDirectories } from '../directories.ts'
import { request } from '../lean-http.ts'
import type { Log } from '../log.ts'
import { straight } from './direct-agent.ts'
import { parseNote } from './note.ts'

/** Where checkpoints go that must outlive whoever can write the log. */
export interface PublishTarget {
  /** Absolute path: each is appended there, and synced. */
  readonly file: string | null
  /** Each is PUT there, below `<url>/<origin>`. */
  readonly url: string | null
}

const PUT_MS = 5_000
const RETRY_MS = 10_000
/** Answers are not read; this much is drained. */
const ANSWER_BYTES_MAX = 16 * 1024
/** One origin for each file this process began: more than this is a disk that fails all the time. */
const WAITING_MAX = 64

/**
 * Publishes checkpoints outside the log, off every request's path. A later checkpoint of a chain says
 * all that a former one did, so only the newest of each waits while a place cannot be reached; it is
 * tried again every ten seconds, and with the next one.
 */
export class Publisher {
  readonly #places: readonly Place[]

  constructor(target: PublishTarget, log: Log) {
    const { file, url } = target
    this.#places = [
      ...(file === null ? [] : [new Place(file, (_origin, note) => appendNote(file, note), log)]),
      ...(url === null ? [] : [new Place(url, (origin, note) => putNote(url, origin, note), log)]),
    ]
  }

  /** Takes a signed checkpoint. Never throws and never waits. */
  publish(note: string): void {
    const origin = parseNote(note)?.origin
    if (origin === undefined) return
    for (const place of this.#places) place.take(origin, note)
  }

  /** Resolves when everything was published, or was tried once more. */
  async close(): Promise<void> {
    await Promise.all(this.#places.map((place) => place.close()))
  }
}

class Place {
  readonly #name: string
  readonly #send: (origin: string, note: string) => Promise<void>
  readonly #log: Log
  readonly #waiting = new Map<string, string>()
  #running: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  #failing = false
  #closed = false

  constructor(name: string, send: (origin: string, note: string) => Promise<void>, log: Log) {
    this.#name = name
    this.#send = send
    this.#log = log
  }

  take(origin: string, note: string): void {
    this.#waiting.delete(origin)
    this.#waiting.set(origin, note)
    if (this.#waiting.size > WAITING_MAX) this.#waiting.delete([...this.#waiting.keys()][0]!)
    this.#run()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#running
    this.#run()
    await this.#running
    clearTimeout(this.#timer ?? undefined)
  }

  #run(): void {
    if (this.#running !== null || this.#waiting.size === 0) return
    clearTimeout(this.#timer ?? undefined)
    this.#running = this.#drain().finally(() => {
      this.#running = null
      if (this.#waiting.size === 0 || this.#closed) return
      this.#timer = setTimeout(() => this.#run(), RETRY_MS)
      this.#timer.unref()
    })
  }

  async #drain(): Promise<void> {
    for (const [origin, note] of this.#waiting) {
      try {
        await this.#send(origin, note)
        if (this.#waiting.get(origin) === note) this.#waiting.delete(origin)
        if (this.#failing) this.#log.info({ to: this.#name }, 'Checkpoints are published again')
        this.#failing = false
      } catch (error) {
        if (!this.#failing) {
          this.#log.error({ to: this.#name, err: error }, 'Checkpoints cannot be published')
        }
        this.#failing = true
        return
      }
    }
  }
}

/** A note, and an empty line behind it that parts it from the next. */
async function appendNote(file: string, note: string): Promise<void> {
  makeDirectories(dirname(file))
  const handle = await open(file, 'a', 0o644)
  try {
    await handle.appendFile(`${note}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** No redirects: a checkpoint goes where the file says or nowhere. */
async function putNote(url: string, origin: string, note: string): Promise<void> {
  await straight(async (dispatcher) => {
    const { statusCode, body } = await request(`${url.replace(/\/+$/, '')}/${origin}`, {
      dispatcher,
      method: 'PUT',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      body: note,
      signal: AbortSignal.timeout(PUT_MS),
    })
    await body.dump({ limit: ANSWER_BYTES_MAX })
    if (statusCode < 200 || statusCode > 299) throw new Error(`It answered ${statusCode}`)
  })
}
