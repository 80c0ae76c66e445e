import { createHash } from 'node:crypto'
import { lstatSync, readFileSync, statSync, watch, type FSWatcher } from 'node:fs'
import { dirname } from 'node:path'

import { every } from '../clock.ts'
import { FILE_BYTES_MAX } from './load.ts'

/** Editors write in bursts; half a file is not worth reading. */
const SETTLE_MS = 200
/** Network and overlay file systems do not always tell. */
const POLL_INTERVAL_MS = 2000

/** What is loaded already, and shorter times for tests. */
export interface WatchOptions {
  /** `snapshot.digest` of what is loaded; a change since then is told too. The content of now without. */
  readonly digest?: string
  /** Files that are told of like the first; they are only polled. `follow` names others. */
  readonly secretFiles?: readonly string[]
  readonly settleMs?: number
  readonly pollIntervalMs?: number
}

/**
 * Tells when the content of a file changed. It watches the file, and the next one of that name where an
 * editor renames over it; of a link the directory, since a ConfigMap swaps `..data` beside it. Never the
 * directory of a plain file: an audit log in it would wake the process at each write to the disk, more than
 * twice a call. And it polls, because not every file system tells. A file that is gone is not a change; the
 * next content that differs from the last is.
 */
export class ConfigWatcher {
  readonly #file: string
  readonly #onChange: (what: Changed) => void
  readonly #settleMs: number
  readonly #stopPolling: () => void
  #watcher: FSWatcher | null = null
  /** What `#watcher` watches; '' without one. */
  #watched = ''
  #settling: NodeJS.Timeout | null = null
  #digest: string | null
  #seen: string | null
  /** Of the secret files, by path. */
  #secrets = new Map<string, string | null>()
  #closed = false

  /** Starts at once. */
  constructor(file: string, onChange: (what: Changed) => void, options: WatchOptions = {}) {
    this.#file = file
    this.#onChange = onChange
    this.#settleMs = options.settleMs ?? SETTLE_MS
    this.#seen = digest(file)
    this.#digest = options.digest ?? this.#seen
    this.follow(options.secretFiles ?? [])
    this.#watch()
    this.#look()
    this.#stopPolling = every(options.pollIntervalMs ?? POLL_INTERVAL_MS, () => {
      this.#watch()
      this.#look()
      this.#lookAtSecrets()
    })
  }

  /** From now on these are the secret files. Those that were before keep what was seen of them. */
  follow(secretFiles: readonly string[]): void {
    const former = this.#secrets
    this.#secrets = new Map(
      secretFiles.map((path) => [path, former.has(path) ? former.get(path)! : digest(path)]),
    )
  }

  /** Ends watching; nothing is told afterwards. */
  close(): void {
    this.#closed = true
    this.#stopPolling()
    this.#watcher?.close()
    if (this.#settling !== null) clearTimeout(this.#settling)
  }

  /** Watches what is there now; when that fails or ends, the poll tries again. */
  #watch(): void {
    const place = this.#closed ? null : watchable(this.#file)
    if (place === null || place.identity === this.#watched) return
    this.#forget()
    try {
      const watcher = watch(place.path, { persistent: false }, () => this.#look())
      watcher.on('error', () => {
        if (this.#watcher === watcher) this.#forget()
      })
      this.#watcher = watcher
      this.#watched = place.identity
    } catch {
      this.#forget()
    }
  }

  #forget(): void {
    this.#watcher?.close()
    this.#watcher = null
    this.#watched = ''
  }

  /** A secret is short and swapped as a whole; half of one would be refused or told of again. */
  #lookAtSecrets(): void {
    let changed = false
    for (const [path, former] of this.#secrets) {
      const now = digest(path)
      if (now === null || now === former) continue
      this.#secrets.set(path, now)
      changed = true
    }
    if (changed) this.#onChange('secret')
  }

  /** Waits until two looks in a row see the same content, then compares it with the last one told. */
  #look(): void {
    if (this.#closed || this.#settling !== null) return
    this.#settling = setTimeout(() => {
      this.#settling = null
      this.#watch()
      const now = digest(this.#file)
      if (now !== this.#seen) {
        this.#seen = now
        this.#look()
      } else if (now !== null && now !== this.#digest) {
        this.#digest = now
        this.#onChange('file')
      }
    }, this.#settleMs)
    this.#settling.unref()
  }
}

/** What changed: the configuration itself, or only a secret that it points to. */
export type Changed = 'file' | 'secret'

/** Calls `onChange` after each change of the file's content, until `close()`. */
export function watchConfig(
  file: string,
  onChange: (what: Changed) => void,
  options: WatchOptions = {},
): ConfigWatcher {
  return new ConfigWatcher(file, onChange, options)
}

/** What is to be watched for a file, and which one that is; null while there is no such file. */
function watchable(file: string): { readonly path: string; readonly identity: string } | null {
  try {
    const isLink = lstatSync(file).isSymbolicLink()
    const path = isLink ? dirname(file) : file
    const { dev, ino } = statSync(path)
    return { path, identity: `${isLink ? 'directory' : 'file'} ${dev}:${ino}` }
  } catch {
    return null
  }
}

/** Of the content; null while there is no file that could be a configuration. */
function digest(file: string): string | null {
  try {
    const { size } = statSync(file)
    if (size > FILE_BYTES_MAX) return `too large: ${size}`
    return createHash('sha256').update(readFileSync(file)).digest('hex')
  } catch {
    return null
  }
}
