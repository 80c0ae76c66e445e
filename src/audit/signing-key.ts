import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import {
  closeSync,
  existsSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname } from 'node:path'

import Database from 'better-sqlite3'

import { makeDirectories, openWithin } from '../directories.ts'
import { type Checkpoint, fromBase64, keyIdOf, publicKeyOf } from './note.ts'
import { rawPublicKey, signCheckpoint } from './note.ts'
import { placeFile } from './place-file.ts'

/**
 * The key that signs checkpoints, and the list of all that ever did. Both lie beside the log:
 * `audit.db.key` (PKCS #8, 0600) signs; `audit.db.keys.json` holds public keys and from when to when
 * each was used, and is what a verifier is given.
 */

/** A public key and when its signatures count. */
export interface ListedKey {
  /** Eight hex digits. */
  readonly id: string
  readonly key: KeyObject
  /** Milliseconds since 1970, both ends included; null is still in use. */
  readonly fromMs: number
  readonly untilMs: number | null
}

interface WrittenKey {
  readonly id: string
  readonly algorithm: 'ed25519'
  /** Base64 of 32 bytes. */
  readonly public: string
  readonly from: string
  readonly until: string | null
}

/** After a rotation the former key may sign for this long: a sidecar looks before it signs. */
const OVERLAP_MS = 60_000
/** ECMA-262 §21.4.1.1: no later moment has a date. */
const TIME_MS_MAX = 8.64e15
const KEYS_MAX = 1_000
const LIST_BYTES_MAX = 1024 * 1024

/** Where the log at `path` keeps its secret key. */
export function secretKeyPath(path: string): string {
  return `${path}.key`
}

/** Where the log at `path` keeps its list of public keys. */
export function keyListPath(path: string): string {
  return `${path}.keys.json`
}

/** Signs the checkpoints of one log, with the key that lies there at that moment. */
export class Signer {
  readonly #path: string
  #secret!: KeyObject
  #id!: string
  #fromMs!: number
  #stamp = ''

  private constructor(path: string) {
    this.#path = path
  }

  /**
   * Opens the key of the log at `path`, and makes it, with its list, when there is none. Throws an
   * Error that names the file when it cannot be made, read, or is no Ed25519 key.
   */
  static open(path: string, nowMs: number): Signer {
    const signer = new Signer(path)
    if (!existsSync(secretKeyPath(path))) storeKey(path, makeKey(), nowMs)
    signer.#load(nowMs)
    return signer
  }

  /** A moment at which this key is valid: now, unless the clock went back behind its beginning. */
  timeMs(nowMs: number): number {
    return Math.max(nowMs, this.#fromMs)
  }

  /** Takes a rotated key over. A key that became unreadable leaves the one that is known. */
  refresh(nowMs: number): void {
    try {
      if (stampOf(this.#path) !== this.#stamp) this.#load(nowMs)
    } catch {
      // The known key still signs, and its signatures still verify.
    }
  }

  sign(checkpoint: Checkpoint): string {
    return signCheckpoint(checkpoint, this.#secret, this.#id)
  }

  #load(nowMs: number): void {
    const file = secretKeyPath(this.#path)
    const stamp = stampOf(this.#path)
    const secret = readSecret(file)
    const raw = rawPublicKey(createPublicKey(secret))
    const id = keyIdOf(raw)
    const list = existsSync(keyListPath(this.#path)) ? readKeyList(keyListPath(this.#path)) : []
    let listed = list.find((each) => each.id === id)
    if (listed === undefined) {
      // Who made it may have signed since, while another process wrote a list without it.
      const fromMs = Math.min(nowMs, Math.floor(statSync(file).mtimeMs))
      listed = { id, key: createPublicKey(secret), fromMs, untilMs: null }
      writeKeyList(this.#path, [...list, listed])
    }
    this.#secret = secret
    this.#id = id
    this.#fromMs = listed.fromMs
    this.#stamp = stamp
  }
}

/** How long a rotation waits for another of the same log. */
const ROTATION_MS = 10_000

/**
 * Runs `rotate` while no other process replaces the key of the log at `path`: of two at once each would
 * end the same key, and one of the new ones would never sign. The lock is the system's, an open transaction
 * on an empty file beside the log, which a process that dies lets go of. Throws an Error that names the file.
 */
export function withRotationLock<Result>(path: string, rotate: () => Result): Result {
  const file = `${secretKeyPath(path)}.lock`
  makeDirectories(dirname(file))
  closeSync(openSync(file, 'a', 0o600))
  const db = openWithin(file, () => new Database(file, { timeout: ROTATION_MS }))
  try {
    takeRotationLock(db, file)
    return rotate()
  } finally {
    db.close()
  }
}

function takeRotationLock(db: Database.Database, file: string): void {
  try {
    db.exec('BEGIN IMMEDIATE')
  } catch (error) {
    const isBusy = error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')
    const why = isBusy ? 'another command replaces the key: try again' : (error as Error).message
    throw new Error(`Cannot take the lock ${file}: ${why}`, { cause: error })
  }
}

/** A key that is made and does not sign yet. */
export interface NextKey {
  /** Id of the key that signs so far. */
  readonly former: string
  /** Id of the new one. */
  readonly current: string
  /**
   * Makes it the one that signs; `signedMs` is when the log was signed last, milliseconds since 1970. Throws
   * an Error that names a file.
   */
  readonly use: (signedMs: number) => void
}

/**
 * Makes a new key, so that its id can be told before it signs; once it does, the former counts for one minute
 * more, until running sidecars have noticed. A log without a key gets a former one first. Throws an Error that
 * names a file.
 */
export function nextKey(path: string, nowMs: number): NextKey {
  const made = makeKey()
  Signer.open(path, nowMs)
  const former = keyIdOf(rawPublicKey(createPublicKey(readSecret(secretKeyPath(path)))))
  return { former, current: made.id, use: (signedMs) => storeKey(path, made, nowMs, signedMs) }
}

/** Reads a list of public keys. Throws an Error that names the file and what is wrong with it. */
export function readKeyList(file: string): ListedKey[] {
  try {
    if (statSync(file).size > LIST_BYTES_MAX) throw new Error('it is larger than 1 MiB')
    const { keys } = JSON.parse(readFileSync(file, 'utf8')) as { readonly keys?: unknown }
    if (!Array.isArray(keys) || keys.length > KEYS_MAX) throw new Error('it has no list of keys')
    return keys.map(listedKey)
  } catch (error) {
    const why = (error as Error).message
    throw new Error(`Cannot read the key list ${file}: ${why}`, { cause: error })
  }
}

function listedKey(value: unknown, index: number): ListedKey {
  const { id, public: coded, from, until } = (value ?? {}) as Partial<Record<string, unknown>>
  const raw = typeof coded === 'string' ? fromBase64(coded, 32) : null
  const fromMs = typeof from === 'string' ? Date.parse(from) : NaN
  const untilMs = typeof until === 'string' ? Date.parse(until) : null
  const isUntil = until === null || (untilMs !== null && !Number.isNaN(untilMs))
  if (raw === null || Number.isNaN(fromMs) || !isUntil || id !== keyIdOf(raw)) {
    throw new Error(`keys[${index}] is not a public key with its id, from and until`)
  }
  return { id, key: publicKeyOf(raw), fromMs, untilMs }
}

interface MadeKey {
  readonly id: string
  readonly secret: KeyObject
  readonly key: KeyObject
}

function makeKey(): MadeKey {
  const { privateKey: secret } = generateKeyPairSync('ed25519')
  const key = createPublicKey(secret)
  return { id: keyIdOf(rawPublicKey(key)), secret, key }
}

/**
 * The list is written first: a signature without its public key would be worth nothing. With `signedMs` the
 * keys that are in use end, but not before what they signed: the clock may have been set back since.
 */
function storeKey(
  path: string,
  { id, secret, key }: MadeKey,
  nowMs: number,
  signedMs?: number,
): void {
  makeDirectories(dirname(path))
  const list = existsSync(keyListPath(path)) ? readKeyList(keyListPath(path)) : []
  const ended = list.map((each) => {
    if (signedMs === undefined || each.untilMs !== null) return each
    const lastMs = Math.min(Math.max(nowMs, signedMs, each.fromMs), TIME_MS_MAX - OVERLAP_MS)
    return { ...each, untilMs: lastMs + OVERLAP_MS }
  })
  writeKeyList(path, [...ended, { id, key, fromMs: nowMs, untilMs: null }])
  const pem = secret.export({ format: 'pem', type: 'pkcs8' })
  // The first key of a log may be made by two processes at once: the slower takes the other's.
  const place = signedMs === undefined ? linkNew : renameSync
  placeFile(secretKeyPath(path), { text: pem.toString(), mode: 0o600, place })
}

function writeKeyList(path: string, list: readonly ListedKey[]): void {
  const keys = list.map(({ id, key, fromMs, untilMs }): WrittenKey => {
    return {
      id,
      algorithm: 'ed25519',
      public: rawPublicKey(key).toString('base64'),
      from: new Date(fromMs).toISOString(),
      until: untilMs === null ? null : new Date(untilMs).toISOString(),
    }
  })
  const text = `${JSON.stringify({ keys }, null, 2)}\n`
  placeFile(keyListPath(path), { text, mode: 0o644 })
}

function linkNew(from: string, to: string): void {
  try {
    linkSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  rmSync(from)
}

function readSecret(file: string): KeyObject {
  try {
    const secret = createPrivateKey(readFileSync(file))
    if (secret.asymmetricKeyType !== 'ed25519') throw new Error('it is no Ed25519 key')
    return secret
  } catch (error) {
    const why = (error as Error).message
    throw new Error(`Cannot read the key that signs the audit, ${file}: ${why}`, { cause: error })
  }
}

function stampOf(path: string): string {
  const { ino, mtimeMs, size } = statSync(secretKeyPath(path))
  return `${ino}:${mtimeMs}:${size}`
}
