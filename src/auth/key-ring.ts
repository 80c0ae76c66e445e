import bcrypt from 'bcrypt'

import { GovernorError } from '../errors.ts'
import { isUsable, type KeyRecord } from './key.ts'
import { VerifyCache } from './verify-cache.ts'

/** Where keys come from; SQLite here, fleets elsewhere. Methods may throw: that is a 503, never a 401. */
export interface KeyStore {
  find(keyId: string): KeyRecord | null
  /** Changes whenever any record may have changed. */
  version(): string
}

export type CacheResult = (
  cache: 'key_records' | 'verified_secrets',
  result: 'hit' | 'miss',
) => void

/** Why a key that was good may not be used any more; one that is gone counts as revoked. */
export type EndedKey = 'revoked' | 'expired'

/** A secret that bcrypt has to look at. */
interface Unseen {
  readonly record: KeyRecord
  readonly secret: string
  readonly digest: string
  readonly nowMs: number
}

const RECORDS_MAX = 10_000
/** Four bcrypt at once hold libuv's four threads, DNS and files with them; two leave them free. */
const BCRYPT_AT_ONCE_MAX = 2
const WAITING_PER_KEY_MAX = 8
const WAITING_MAX = 64

/**
 * The keys a running process knows: records and verified secrets, both bounded, both dropped when
 * the store changes. Unknown ids and malformed keys never reach bcrypt.
 */
export class KeyRing {
  readonly #store: KeyStore
  readonly #count: CacheResult
  readonly #records = new Map<string, KeyRecord>()
  readonly #verified = new VerifyCache()
  readonly #comparing = new Map<string, Promise<boolean>>()
  readonly #waitingByKey = new Map<string, number>()
  readonly #turns: (() => void)[] = []
  #running = 0
  #version: string

  constructor(store: KeyStore, count: CacheResult = () => {}) {
    this.#store = store
    this.#count = count
    this.#version = store.version()
  }

  /**
   * Looks for changes made by other processes; called at least twice a second. Of the keys that have
   * calls under way it says which may not be used any more, each time it is asked. May throw.
   */
  refresh(underWay: Iterable<string>, nowMs: number): Map<string, EndedKey> {
    const version = this.#store.version()
    if (version !== this.#version) this.#records.clear()
    this.#version = version
    const ended = new Map<string, EndedKey>()
    for (const keyId of underWay) {
      const how = this.ended(keyId, nowMs)
      if (how !== null) ended.set(keyId, how)
    }
    return ended
  }

  /**
   * How a key that was verified before has ended; null while it may be used, and for '', a pod. One
   * look into a map unless the store has changed. Throws AUTH_UNAVAILABLE when the store fails.
   */
  ended(keyId: string, nowMs: number): EndedKey | null {
    if (keyId === '') return null
    const record = this.#records.get(keyId) ?? this.#find(keyId)
    if (record === null || record.revokedAtMs !== null) return 'revoked'
    return isUsable(record, nowMs) ? null : 'expired'
  }

  /**
   * The record behind a key, or null when there is no usable key with this id and secret: at once
   * when the secret was seen before, after bcrypt when not. Throws AUTH_UNAVAILABLE when the store
   * fails; rejects with AUTH_BUSY when too many unverified secrets wait.
   */
  verify(
    keyId: string,
    secret: string,
    nowMs: number,
  ): KeyRecord | null | Promise<KeyRecord | null> {
    const record = this.#record(keyId)
    if (record === null || !isUsable(record, nowMs)) return null
    const digest = this.#verified.digest(keyId, secret)
    const known = this.#verified.get(digest, record.hash)
    this.#count('verified_secrets', known === null ? 'miss' : 'hit')
    if (known !== null) return known === 'valid' ? record : null
    return this.#verifyUnseen({ record, secret, digest, nowMs })
  }

  async #verifyUnseen({ record, secret, digest, nowMs }: Unseen): Promise<KeyRecord | null> {
    const { keyId } = record
    const valid = await this.#compareOnce(digest, record, secret)
    // The key may have been revoked while bcrypt ran.
    const now = this.#record(keyId)
    return valid && now !== null && isUsable(now, nowMs) ? now : null
  }

  #record(keyId: string): KeyRecord | null {
    const known = this.#records.get(keyId)
    this.#count('key_records', known === undefined ? 'miss' : 'hit')
    return known ?? this.#find(keyId)
  }

  #find(keyId: string): KeyRecord | null {
    let found: KeyRecord | null
    try {
      found = this.#store.find(keyId)
    } catch (cause) {
      throw new GovernorError('AUTH_UNAVAILABLE', { cause, headers: { 'retry-after': '1' } })
    }
    if (found === null) return null
    if (this.#records.size >= RECORDS_MAX) {
      this.#records.delete(this.#records.keys().next().value!)
    }
    this.#records.set(keyId, found)
    return found
  }

  /** A client that starts with a burst sends one secret many times: it is compared once. */
  #compareOnce(digest: string, record: KeyRecord, secret: string): Promise<boolean> {
    const running = this.#comparing.get(digest)
    if (running !== undefined) return running
    const comparing = this.#compare(record, secret)
      .then((valid) => {
        this.#verified.set(digest, record.hash, valid ? 'valid' : 'wrong')
        return valid
      })
      .finally(() => this.#comparing.delete(digest))
    this.#comparing.set(digest, comparing)
    return comparing
  }

  async #compare(record: KeyRecord, secret: string): Promise<boolean> {
    const waiting = this.#waitingByKey.get(record.keyId) ?? 0
    if (waiting >= WAITING_PER_KEY_MAX || this.#turns.length >= WAITING_MAX) {
      throw new GovernorError('AUTH_BUSY', { headers: { 'retry-after': '1' } })
    }
    this.#waitingByKey.set(record.keyId, waiting + 1)
    try {
      await this.#turn()
      return await bcrypt.compare(secret, record.hash)
    } finally {
      this.#next()
      const left = this.#waitingByKey.get(record.keyId)! - 1
      if (left === 0) this.#waitingByKey.delete(record.keyId)
      else this.#waitingByKey.set(record.keyId, left)
    }
  }

  #turn(): Promise<void> | void {
    if (this.#running < BCRYPT_AT_ONCE_MAX) {
      this.#running += 1
      return
    }
    return new Promise((resolve) => this.#turns.push(resolve))
  }

  #next(): void {
    const turn = this.#turns.shift()
    if (turn === undefined) this.#running -= 1
    else turn()
  }
}
