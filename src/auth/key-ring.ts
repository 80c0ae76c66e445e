import { availableParallelism } from 'node:os'

import { monotonicMs } from '../clock.ts'
import { GovernorError } from '../errors.ts'
import { Comparer } from './comparer.ts'
import { Failures } from './failures.ts'
import { FairTurns } from './fair-turns.ts'
import type { KeySource } from './key-store.ts'
import { isUsable, type KeyRecord } from './key.ts'
import { type StoredHashes, VerifyCache } from './verify-cache.ts'

/** Is told whether a key, or its secret, was known already. */
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
  /** Address of who sent it, as limits see it. */
  readonly source: string
  /** Of the key, and of the former secret where that opens at this moment. */
  readonly hashes: StoredHashes
}

const RECORDS_MAX = 10_000
/** Keys whose last use waits to be kept; they are taken every few seconds. */
const USES_MAX = 10_000
/**
 * Four bcrypt at once hold libuv's four threads, DNS and files with them; two leave them free. Where there is
 * one core for all of them, two are done no sooner than one after the other, and calls get a third of it.
 */
const BCRYPT_AT_ONCE_MAX = availableParallelism() > 1 ? 2 : 1
/** Of one key from one address. */
const WAITING_PER_PAIR_MAX = 8
const WAITING_MAX = 64

/**
 * The keys a running process knows: records and verified secrets, both bounded, both dropped when
 * the store changes. Unknown ids and malformed keys never reach bcrypt.
 */
export class KeyRing {
  readonly #store: KeySource
  readonly #count: CacheResult
  readonly #records = new Map<string, KeyRecord>()
  readonly #verified = new VerifyCache()
  readonly #comparing = new Map<string, Promise<string | null>>()
  readonly #uses = new Map<string, number>()
  readonly #waitingByPair = new Map<string, number>()
  readonly #turns = new FairTurns({ atOnceMax: BCRYPT_AT_ONCE_MAX, waitingMax: WAITING_MAX })
  readonly #failures = new Failures()
  readonly #comparer = new Comparer()
  #version: string

  constructor(store: KeySource, count: CacheResult = () => {}) {
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
    let failure: Error | null = null
    for (const keyId of underWay) {
      try {
        const how = this.ended(keyId, nowMs)
        if (how !== null) ended.set(keyId, how)
      } catch (error) {
        failure = error as Error
      }
    }
    // One that cannot be read hides no other: those that have ended are told first.
    if (failure !== null && ended.size === 0) throw failure
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
   * The record behind a key whose secret was seen before and is right, without asking anybody; null
   * says nothing: `verify` knows more.
   */
  known(keyId: string, secret: string, nowMs: number): KeyRecord | null {
    const record = this.#records.get(keyId)
    if (record === undefined || !isUsable(record, nowMs)) return null
    const digest = this.#verified.digest(keyId, secret)
    if (this.#verified.get(digest, record.hash, openFormer(record, nowMs)) !== 'valid') return null
    this.#count('key_records', 'hit')
    this.#count('verified_secrets', 'hit')
    this.#note(keyId, nowMs)
    return record
  }

  /**
   * The record behind a key, or null when there is no usable key with this id and secret: at once
   * when the secret was seen before, after bcrypt when not. Throws AUTH_UNAVAILABLE when the store
   * fails; rejects with AUTH_BUSY when too many unverified secrets wait, and with AUTH_SLOWED after too
   * many wrong ones of this key from `source`, an address.
   */
  verify(
    keyId: string,
    secret: string,
    nowMs: number,
    source = '',
  ): KeyRecord | null | Promise<KeyRecord | null> {
    const record = this.#record(keyId)
    if (record === null) return this.#unknown(() => this.verify(keyId, secret, nowMs, source))
    if (!isUsable(record, nowMs)) return null
    const digest = this.#verified.digest(keyId, secret)
    const formerHash = openFormer(record, nowMs)
    const known = this.#verified.get(digest, record.hash, formerHash)
    this.#count('verified_secrets', known === null ? 'miss' : 'hit')
    if (known === 'wrong') return this.#unknown(() => this.verify(keyId, secret, nowMs, source))
    if (known === 'valid') {
      this.#note(keyId, nowMs)
      return record
    }
    const hashes: StoredHashes = [record.hash, formerHash]
    return this.#verifyUnseen({ record, secret, digest, source, hashes }, nowMs)
  }

  /** When keys were last used, milliseconds since 1970 by key id, at most `max`; each is told once. */
  takeUses(max: number): Map<string, number> {
    const taken = new Map<string, number>()
    for (const [keyId, usedAtMs] of this.#uses) {
      if (taken.size >= max) break
      taken.set(keyId, usedAtMs)
      this.#uses.delete(keyId)
    }
    return taken
  }

  #note(keyId: string, nowMs: number): void {
    if (this.#uses.size < USES_MAX || this.#uses.has(keyId)) this.#uses.set(keyId, nowMs)
  }

  async #verifyUnseen(unseen: Unseen, nowMs: number): Promise<KeyRecord | null> {
    const { keyId } = unseen.record
    const opens = await this.#compareOnce(unseen)
    // The key may have been revoked, or have another secret, since bcrypt began.
    const now = this.#record(keyId)
    if (now !== null && !isUsable(now, nowMs)) return null
    const isRight = opens !== null && (opens === now?.hash || opens === openFormer(now, nowMs))
    if (!isRight || now === null) {
      return this.#unknown(() => this.verify(keyId, unseen.secret, nowMs, unseen.source))
    }
    this.#note(keyId, nowMs)
    return now
  }

  /** No such key; where that may only not be known yet, its store is asked before anybody is told so. */
  #unknown(
    again: () => KeyRecord | null | Promise<KeyRecord | null>,
  ): null | Promise<KeyRecord | null> {
    if (this.#store.isCurrent === false) throw unavailable(BEHIND)
    const catchingUp = this.#store.catchUp?.() ?? null
    if (catchingUp === null) return null
    return catchingUp.then((isDone) => {
      if (!isDone) throw unavailable(BEHIND)
      this.refresh([], 0)
      return again()
    })
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
      throw unavailable(cause)
    }
    if (found === null) return null
    if (!isWhole(found)) throw unavailable(`Key ${keyId} was altered: ${WHOLE}`)
    if (this.#records.size >= RECORDS_MAX) {
      this.#records.delete(this.#records.keys().next().value!)
    }
    this.#records.set(keyId, found)
    return found
  }

  /** A client that starts with a burst sends one secret many times: it is compared once. */
  #compareOnce(unseen: Unseen): Promise<string | null> {
    const { digest, hashes } = unseen
    const running = this.#comparing.get(digest)
    if (running !== undefined) return running
    const comparing = this.#compare(unseen)
      .then((opens) => {
        this.#verified.set(digest, opens, hashes)
        return opens
      })
      .finally(() => this.#comparing.delete(digest))
    this.#comparing.set(digest, comparing)
    return comparing
  }

  /** The hash that the secret is the one behind; null where it is none's. */
  async #compare({ record, secret, source, hashes }: Unseen): Promise<string | null> {
    const pair = `${source} ${record.keyId}`
    const waitMs = this.#failures.waitMs(pair, monotonicMs())
    if (waitMs > 0) throw slowed(waitMs)
    const waiting = this.#waitingByPair.get(pair) ?? 0
    if (waiting >= WAITING_PER_PAIR_MAX) {
      throw new GovernorError('AUTH_BUSY', { headers: { 'retry-after': '1' } })
    }
    this.#waitingByPair.set(pair, waiting + 1)
    try {
      const isSuspect = this.#failures.hasFailed(pair, monotonicMs())
      await this.#turns.enter({ about: record.keyId, source, isSuspect })
      try {
        for (const hash of hashes) {
          if (hash === null) continue
          if (await this.#comparer.compare(secret, hash, monotonicMs())) return hash
        }
        const nowMs = monotonicMs()
        this.#failures.note(pair, nowMs)
        this.#comparer.noteWrong(nowMs)
        return null
      } finally {
        this.#turns.leave()
      }
    } finally {
      const left = this.#waitingByPair.get(pair)! - 1
      if (left === 0) this.#waitingByPair.delete(pair)
      else this.#waitingByPair.set(pair, left)
    }
  }
}

const BEHIND = 'The store of keys is not followed at the moment'
const WHOLE = 'its roles, labels and upstreams must hold texts alone'

/** Rows are altered by hand, too; a list that is none must not decide, and nobody is told that his key is wrong. */
function isWhole({ roles, labels, upstreams }: KeyRecord): boolean {
  if (!Array.isArray(roles) || !Array.isArray(upstreams) || typeof labels !== 'object') return false
  const texts: unknown[] = [...roles, ...Object.values(labels ?? [null]), ...upstreams]
  return texts.every((text) => typeof text === 'string')
}

/** The hash of the former secret while it opens. */
function openFormer(record: KeyRecord | null, nowMs: number): string | null {
  const former = record?.former ?? null
  return former !== null && nowMs < former.untilMs ? former.hash : null
}

function unavailable(cause: unknown): GovernorError {
  return new GovernorError('AUTH_UNAVAILABLE', { cause, headers: { 'retry-after': '1' } })
}

function slowed(waitMs: number): GovernorError {
  return new GovernorError('AUTH_SLOWED', {
    hint: 'A secret that was right before goes on. Check the key; a new secret is made with: governor keys rotate',
    headers: { 'retry-after': String(Math.ceil(waitMs / 1000)) },
  })
}
