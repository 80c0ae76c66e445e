import { readFileSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

import { every } from '../clock.ts'
import type { Log } from '../log.ts'
import { inTurns, runNow } from '../turns.ts'
import { type KeysFile, readKeysFile } from './key-file.ts'
import type { KeySource } from './key-store.ts'
import { KeyUses } from './key-uses.ts'
import type { KeyRecord } from './key.ts'

/** A change is acted on within a second: seen, seen to have settled, read. */
const LOOK_MS = 250
/** About 200,000 keys. */
export const KEYS_FILE_BYTES_MAX = 64 * 2 ** 20

/**
 * Keys of a file, such as one of a mounted Secret, read again whenever it changes: edited, renamed over, or
 * its directory swapped. What cannot be read changes nothing: the last good keys stay.
 */
export class FileKeys implements KeySource {
  readonly #path: string
  readonly #log: Log
  readonly #stop: () => void
  #keys: ReadonlyMap<string, KeyRecord>
  #changes = 0
  /** Null where nothing can be written beside the file. */
  readonly #uses: KeyUses | null
  /** Of the file whose keys these are, of the one last tried, and of the one last looked at. */
  #tried: string
  #looked: string
  #isReading = false

  private constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
    this.#tried = identity(path)
    this.#looked = this.#tried
    this.#keys = keysOf(runNow(readKeysFile(read(path))))
    this.#uses = KeyUses.open(path)
    this.#stop = every(LOOK_MS, () => this.#look())
  }

  /** Throws an Error that names the file and every problem, where there are no good keys to begin with. */
  static open(path: string, log: Log): FileKeys {
    try {
      return new FileKeys(path, log)
    } catch (error) {
      throw aboutFile(path, error)
    }
  }

  find(keyId: string): KeyRecord | null {
    return this.#keys.get(keyId) ?? null
  }

  version(): string {
    return String(this.#changes)
  }

  used(uses: ReadonlyMap<string, number>): void {
    this.#uses?.keep(uses)
  }

  async close(): Promise<void> {
    this.#stop()
    this.#uses?.close()
  }

  #look(): void {
    let now: string
    try {
      now = identity(this.#path)
    } catch {
      // Gone, or between two links: the last good keys stay.
      return
    }
    const settled = now === this.#looked
    this.#looked = now
    if (!settled || now === this.#tried || this.#isReading) return
    this.#tried = now
    this.#isReading = true
    void this.#read().finally(() => (this.#isReading = false))
  }

  async #read(): Promise<void> {
    try {
      const tried = this.#tried
      const text = decoded(await readFile(this.#path))
      // Somebody began to write meanwhile: keys may be missing that come in a moment.
      if (identity(this.#path) !== tried) return
      this.#keys = keysOf(await inTurns(readKeysFile(text)))
      this.#changes += 1
      this.#log.info({ keys: this.#keys.size }, 'The file of keys was read again')
    } catch (error) {
      const { message } = aboutFile(this.#path, error)
      this.#log.error({ code: 'AUTH_UNAVAILABLE' }, `${message}\nThe last good keys stay`)
    }
  }
}

function keysOf({ entries }: KeysFile): Map<string, KeyRecord> {
  return new Map(entries.map(({ record }) => [record.keyId, record]))
}

/** The text of the file. Throws what the system says, or that it is too large or no text. */
export function read(path: string): string {
  return decoded(readFileSync(path))
}

function decoded(bytes: Buffer): string {
  if (bytes.length > KEYS_FILE_BYTES_MAX) {
    throw new Error(`The file is larger than ${KEYS_FILE_BYTES_MAX} bytes`)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Error('The file is not UTF-8 text')
  }
}

/** Changes with the content, as far as a file system tells. Throws where there is no file. */
export function identity(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
  if (size > KEYS_FILE_BYTES_MAX) return 'too large'
  return `${dev}.${ino}.${size}.${mtimeNs}.${ctimeNs}`
}

/** Names the file, and its key in the configuration, in what the system or the reader says. */
export function aboutFile(path: string, error: unknown): Error {
  const { message, code } = error as Error & { readonly code?: unknown }
  const hint =
    code === 'ENOENT' ? ': there is none, make it with governor keys create' : `: ${message}`
  return new Error(`Cannot use the key store ${path} (auth.keys.path)${hint}`, { cause: error })
}
