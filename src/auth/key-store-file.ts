import {
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

import { syncDirectory } from '../directories.ts'
import { inTurns } from '../turns.ts'
import { aboutFile, identity, read } from './file-keys.ts'
import { takeFileLock } from './file-lock.ts'
import { keyRow } from './key-file-row.ts'
import { type KeysFile, readKeysFile } from './key-file.ts'
import { addResult } from './key-row.ts'
import {
  type ImportResult,
  KeyExistsError,
  type KeyPage,
  type KeyStore,
  KeyStoreReadOnlyError,
  type Rotation,
  type StoredKey,
} from './key-store.ts'
import { usesOf } from './key-uses.ts'
import type { KeyRecord } from './key.ts'

/**
 * Keys in a file of YAML, changed line by line: what else stands there stays. The new file is complete on
 * disk before it takes the place of the old. Where that may not be, as in a mounted Secret, a change
 * rejects with the line that somebody has to put there.
 */
export class FileKeyStore implements KeyStore {
  readonly kind = 'file'
  readonly place: string
  /** Keys as last read, and of which state of the file they are. */
  #seen: { readonly of: string; readonly keys: Promise<readonly KeyRecord[]> } | null = null

  constructor(path: string) {
    this.place = path
  }

  async create(record: KeyRecord): Promise<void> {
    await this.#change((file) => {
      if (file.entries.some((each) => each.record.keyId === record.keyId)) {
        throw new KeyExistsError(record.keyId)
      }
      return [record]
    })
  }

  async get(keyId: string): Promise<StoredKey | null> {
    const found = (await this.#all()).find((each) => each.keyId === keyId)
    return found === undefined ? null : this.#stored([found])[0]!
  }

  async list({ tenant, after, max }: KeyPage): Promise<StoredKey[]> {
    const isNext = (key: KeyRecord) => after === null || byAge(key, after) > 0
    const page = (await this.#all())
      .filter((key) => (tenant === null || key.tenant === tenant) && isNext(key))
      .toSorted(byAge)
      .slice(0, max)
    return this.#stored(page)
  }

  async rotate(keyId: string, formerHash: string, rotation: Rotation): Promise<boolean> {
    return this.#edit(keyId, (record) => {
      const may = record.revokedAtMs === null && record.hash === formerHash
      return may ? { ...record, ...rotation } : null
    })
  }

  async revoke(keyId: string, nowMs: number): Promise<boolean> {
    return this.#edit(keyId, (record) => {
      return record.revokedAtMs === null ? { ...record, revokedAtMs: nowMs } : null
    })
  }

  async add(records: readonly KeyRecord[]): Promise<ImportResult[]> {
    let results: ImportResult[] = []
    await this.#change((file) => {
      const there = new Map(file.entries.map(({ record }) => [record.keyId, record]))
      const added: KeyRecord[] = []
      results = records.map((record) => {
        const result = addResult(record, there.get(record.keyId) ?? null)
        if (result !== 'added') return result
        there.set(record.keyId, record)
        added.push(record)
        return result
      })
      return added
    })
    return results
  }

  async close(): Promise<void> {}

  #stored(keys: readonly KeyRecord[]): StoredKey[] {
    const uses = usesOf(this.place, keys)
    return keys.map((key, index) => ({ ...key, lastUsedAtMs: uses[index]! }))
  }

  /**
   * Those of the file; none where there is none yet. Read once for as long as the file stays as it is: the
   * admin API may be asked ten times a second, on the event loop of a sidecar.
   */
  async #all(): Promise<readonly KeyRecord[]> {
    const of = this.#state()
    if (this.#seen?.of !== of) {
      const keys = this.#read().then(({ file }) => {
        return file.entries.map(({ record }) => record)
      })
      this.#seen = { of, keys }
      keys.catch(() => (this.#seen = null))
    }
    return this.#seen.keys
  }

  #state(): string {
    try {
      return identity(this.place)
    } catch {
      return 'none'
    }
  }

  async #read(): Promise<{ readonly text: string; readonly file: KeysFile }> {
    try {
      const text = existsSync(this.place) ? read(this.place) : 'keys:\n'
      return { text, file: await inTurns(readKeysFile(text)) }
    } catch (error) {
      throw aboutFile(this.place, error)
    }
  }

  async #edit(keyId: string, change: (record: KeyRecord) => KeyRecord | null): Promise<boolean> {
    const changed = await this.#change(({ entries }) => {
      const found = entries.find(({ record }) => record.keyId === keyId)
      const next = found === undefined ? null : change(found.record)
      return next === null ? [] : [next]
    })
    return changed > 0
  }

  /** Puts what `act` answers into the file, in the place of the line of that key or at the end. */
  async #change(act: (file: KeysFile) => readonly KeyRecord[]): Promise<number> {
    const release = isMounted(this.place) ? null : await takeFileLock(this.place)
    if (release === null) {
      const records = act((await this.#read()).file)
      if (records.length > 0) throw new KeyStoreReadOnlyError(this.place, records.map(keyRow))
      return 0
    }
    try {
      const { text, file } = await this.#read()
      const records = act(file)
      if (records.length > 0) await this.#write(edited(text, file, records))
      return records.length
    } finally {
      release()
    }
  }

  async #write(text: string): Promise<void> {
    const target = existsSync(this.place) ? realpathSync(this.place) : this.place
    const next = `${target}.new`
    const isWhole = (await inTurns(readKeysFile(text))).entries.length > 0
    if (!isWhole) throw new Error(`${this.place} cannot be edited: write one key a line`)
    const descriptor = openSync(next, 'w', 0o600)
    try {
      if (existsSync(target)) fchmodSync(descriptor, statSync(target).mode & 0o777)
      // All of it: one write may be cut short where the disk is nearly full.
      writeFileSync(descriptor, text)
      fsyncSync(descriptor)
    } catch (error) {
      rmSync(next, { force: true })
      throw error
    } finally {
      closeSync(descriptor)
    }
    renameSync(next, target)
    syncDirectory(dirname(target))
  }
}

function byAge(
  a: Pick<KeyRecord, 'createdAtMs' | 'keyId'>,
  b: Pick<KeyRecord, 'createdAtMs' | 'keyId'>,
): number {
  return a.createdAtMs - b.createdAtMs || (a.keyId < b.keyId ? -1 : Number(a.keyId > b.keyId))
}

/** Whether Kubernetes keeps the file: it is behind the link `..data`, and what is written there is lost. */
function isMounted(path: string): boolean {
  try {
    const link = readlinkSync(path)
    return link.startsWith('..data/') && existsSync(join(dirname(path), '..data', basename(link)))
  } catch {
    return false
  }
}

/** The text with these keys: in their places, new ones at the end of the list. */
function edited(text: string, file: KeysFile, records: readonly KeyRecord[]): string {
  const places = new Map(file.entries.map((entry) => [entry.record.keyId, entry]))
  const indent = file.indent ?? '  '
  const added = records.filter(({ keyId }) => !places.has(keyId))
  const lines = added.map((record) => `${indent}- ${keyRow(record)}\n`).join('')
  if (file.entries.length === 0) return `${comments(text)}keys:\n${lines}`
  if (file.indent === null && added.length > 0) {
    throw new Error('The file cannot be edited: write one key a line, each as `- { … }`')
  }
  const last = Math.max(...file.entries.map(({ end }) => end))
  const newline = text.indexOf('\n', last)
  const end = newline < 0 ? text.length : newline + 1
  let result = `${text.slice(0, end)}${newline < 0 ? '\n' : ''}${lines}${text.slice(end)}`
  const replaced = records.flatMap((record) => {
    const place = places.get(record.keyId)
    return place === undefined ? [] : [{ ...place, record }]
  })
  for (const { record, start, end: to } of replaced.toSorted((a, b) => b.start - a.start)) {
    result = result.slice(0, start) + keyRow(record) + result.slice(to)
  }
  return result
}

/** Of a file without a key. */
function comments(text: string): string {
  return text
    .split('\n')
    .filter((line) => line.trimStart().startsWith('#'))
    .map((line) => `${line}\n`)
    .join('')
}
