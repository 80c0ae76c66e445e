import { monotonicMs, wallMs } from '../clock.ts'
import type { Log } from '../log.ts'
import { type PoolState, sharedPool } from '../metrics.ts'
import { Patience } from '../patience.ts'
import { type CopyState, KeyCopy } from './key-copy.ts'
import { KEYS_CHANNEL } from './key-postgres-schema.ts'
import {
  changedSince,
  type Connection,
  connect,
  isRefusal,
  KeySchemaError,
  keysMessage,
  keysPlace,
  type PostgresTimes,
  storeId,
  timelineOf,
} from './key-postgres.ts'
import { type KeyRow, keyOfRow } from './key-row.ts'
import { KEY_SELECTED } from './key-store-postgres.ts'
import type { KeySource } from './key-store.ts'
import type { KeyRecord } from './key.ts'

/** Where keys are followed, and how long they go on without. */
export interface SyncOptions {
  readonly url: string
  /** Reaches the server itself, not a pool in front of it, so that it can tell of changes. */
  readonly directUrl: string | null
  /** File of the copy. */
  readonly path: string
  readonly maxStaleMs: number
  readonly log: Log
  /** Shorter in tests. */
  readonly times?: SyncTimes
}

/** How long the server may take for an answer, at first and at most, and how often the direct URL is tried again. */
export interface SyncTimes {
  readonly firstMs: number
  readonly mostMs: number
  readonly directRetryMs: number
}

/** How often changes are asked for where nothing tells of them. */
const POLL_MS = 500
/** And where something does: a connection that is silently gone is found by asking. */
const POLL_TOLD_MS = 2_000
/** Asked longer ago than this, a key that is not known may be a new one. */
const CURRENT_MS = 6_000
/** Changes are acted on within a second: what came before a comparison that began so lately is known. */
const FRESH_MS = 1_000
const TIMES: SyncTimes = { firstMs: 2_000, mostMs: 30_000, directRetryMs: 60_000 }
const PAGE_MAX = 1000
const PAUSE_MS = { first: 250, max: 5_000 }
/** How long the start waits for the first comparison, with a copy at hand and without. */
const START_MS = { copy: 2_000, none: 10_000 }
const STATE_KEPT_MS = 5_000
/** A pool may have gone over to another server without a word: so often it is asked which one this is. */
const MEET_MS = 30_000

const CHANGES = `SELECT ${KEY_SELECTED}, changed_at::text AS position FROM governor_keys.keys
  WHERE changed_at > $1::timestamptz ORDER BY changed_at LIMIT ${PAGE_MAX}`
/** Waits neither for replicas nor for long for rows of others: changes of keys wait behind it. */
const USED = `INSERT INTO governor_keys.uses SELECT given.* FROM (SELECT
    set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '250', true)) AS set,
  unnest($1::text[], $2::bigint[]) AS given
  ON CONFLICT (key_id) DO UPDATE
  SET last_used_at_ms = greatest(uses.last_used_at_ms, excluded.last_used_at_ms)`
const BEGINNING = '-infinity'

/**
 * Follows the keys of PostgreSQL with one connection and answers from a copy on disk, so that no call
 * waits for the server and a sidecar serves while it is away. A copy that was not compared for `maxStaleMs`
 * answers nothing: `find` throws, which is a 503.
 */
export class SyncedKeys implements KeySource {
  readonly #options: SyncOptions
  readonly #copy: KeyCopy
  readonly #times: SyncTimes
  readonly #patience: PostgresTimes
  readonly #closing = new AbortController()
  #state: CopyState | null
  /** Monotonic; when the copy was last compared. */
  #syncedMs: number
  /** When that comparison began. */
  #beganMs = -Infinity
  #stateKeptMs = -Infinity
  #changes = 0
  #connection: Connection | null = null
  /** To the direct URL, found while the other one was asked. */
  #direct: Connection | null = null
  #wake: (() => void) | null = null
  #woken = false
  #closed = false
  #isFollowing = false
  #loop: Promise<void> = Promise.resolve()
  /** Why the last attempt to follow failed; null while it goes well. */
  #failure: Error | null = null
  #onFirst: (() => void) | null = null
  #onSynced: () => void = () => {}
  #catchingUp: Promise<boolean> | null = null

  private constructor(options: SyncOptions) {
    this.#options = options
    const times = options.times ?? TIMES
    this.#patience = { connect: new Patience(times), statement: new Patience(times) }
    this.#times = times
    this.#copy = KeyCopy.open(options.path)
    this.#state = this.#copy.state
    // A clock that jumped, either way, makes no copy fresher than it is.
    const ageMs = this.#state === null ? Infinity : Math.abs(wallMs() - this.#state.syncedAtMs)
    this.#syncedMs = monotonicMs() - ageMs
  }

  /**
   * Begins to follow. Waits a while for the first comparison; without one it goes on with the copy, and
   * without a copy with nothing until the server answers. Rejects with an Error where the copy cannot be
   * kept, or where there is none and the server refuses.
   */
  static async open(options: SyncOptions): Promise<SyncedKeys> {
    const keys = new SyncedKeys(options)
    const first = new Promise<void>((resolve) => (keys.#onFirst = resolve))
    keys.#loop = keys.#run()
    const isFresh = keys.#ageMs() < options.maxStaleMs
    await Promise.race([first, pause(isFresh ? START_MS.copy : START_MS.none)])
    const failure = keys.#failure
    if (failure === null || isFresh || !isRefusal(failure)) return keys
    await keys.close()
    throw new Error(keys.#about(failure))
  }

  find(keyId: string): KeyRecord | null {
    const ageMs = this.#ageMs()
    if (ageMs > this.#options.maxStaleMs) throw new Error('The copy of the keys is too old')
    return this.#copy.find(keyId)
  }

  version(): string {
    const isStale = this.#ageMs() > this.#options.maxStaleMs
    return isStale ? 'stale' : String(this.#changes)
  }

  get isCurrent(): boolean {
    return this.#isFollowing && this.#ageMs() < CURRENT_MS
  }

  catchUp(): Promise<boolean> | null {
    const isFresh = () => monotonicMs() - this.#beganMs < FRESH_MS
    if (isFresh()) return null
    if (this.#catchingUp === null) {
      const synced = new Promise<void>((resolve) => (this.#onSynced = resolve))
      this.#catchingUp = Promise.race([synced, pause(FRESH_MS)])
        .then(isFresh)
        .finally(() => (this.#catchingUp = null))
      this.#wakeUp()
    }
    return this.#catchingUp
  }

  /** Why calls with keys cannot be served; null when they can. */
  get fault(): string | null {
    return this.#ageMs() > this.#options.maxStaleMs
      ? `the copy of the keys was not compared with ${keysPlace(this.#options.url)} for too long`
      : null
  }

  get connections(): PoolState {
    return sharedPool(this.#connection === null ? 0 : 1, this.#connection?.asked ?? 0)
  }

  /** Since the copy was last compared with its store; Infinity before the first time. */
  get ageMs(): number {
    return this.#ageMs()
  }

  async used(uses: ReadonlyMap<string, number>): Promise<void> {
    const connection = this.#connection
    if (connection === null || uses.size === 0) return
    // In one order, so that two sidecars never wait for each other's rows in a ring.
    const rows = [...uses].sort(([a], [b]) => (a < b ? -1 : 1))
    await connection.query(USED, [rows.map(([keyId]) => keyId), rows.map(([, usedMs]) => usedMs)])
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#wakeUp()
    await this.#connection?.close()
    this.#closing.abort(new Error('closed'))
    await this.#loop
    await this.#direct?.close()
    this.#copy.close()
  }

  #ageMs(): number {
    return monotonicMs() - this.#syncedMs
  }

  async #run(): Promise<void> {
    let pauseMs = PAUSE_MS.first
    while (!this.#closed) {
      const beganMs = monotonicMs()
      try {
        const told = await this.#connect()
        await this.#follow(this.#connection!, told)
      } catch (error) {
        this.#failed(error as Error)
      }
      await this.#connection?.close()
      this.#connection = null
      if (this.#direct !== null) continue
      this.#isFollowing = false
      // What held for a while may be tried again at once; what fails at once is left alone for longer.
      pauseMs = monotonicMs() - beganMs > PAUSE_MS.max ? PAUSE_MS.first : pauseMs
      await this.#sleep(pauseMs)
      pauseMs = Math.min(pauseMs * 2, PAUSE_MS.max)
    }
  }

  /** Whether changes are told on this connection: on the direct URL, where it can be reached. */
  async #connect(): Promise<boolean> {
    const { url, directUrl } = this.#options
    if (directUrl !== null) {
      this.#connection = this.#direct ?? (await this.#reachDirect(directUrl))
      this.#direct = null
      if (this.#connection !== null) return true
    }
    this.#connection = await connect(url, this.#patience, this.#closing.signal)
    return false
  }

  /** A connection that is told of changes; null where the direct URL cannot be reached soon. */
  async #reachDirect(url: string): Promise<Connection | null> {
    const times = { ...this.#patience, connect: Patience.always(this.#times.firstMs) }
    let connection: Connection | null = null
    try {
      connection = await connect(url, times, this.#closing.signal)
      connection.onNotification(() => this.#wakeUp())
      await connection.query(`LISTEN ${KEYS_CHANNEL}`)
      return connection
    } catch (error) {
      await connection?.close()
      const why = keysMessage(error)
      this.#options.log.debug({ why }, 'Cannot reach auth.keys.direct_url: asking instead')
      return null
    }
  }

  async #follow(connection: Connection, told: boolean): Promise<void> {
    const { directUrl } = this.#options
    const { directRetryMs } = this.#times
    await this.#meet(connection)
    let metMs = monotonicMs()
    let directMs = told || directUrl === null ? Infinity : metMs + directRetryMs
    while (!this.#closed && this.#direct === null) {
      this.#woken = false
      if (monotonicMs() - metMs > MEET_MS) {
        await this.#meet(connection)
        metMs = monotonicMs()
        this.#patience.connect.shorter()
      }
      const beganMs = monotonicMs()
      while ((await this.#pull(connection)) === PAGE_MAX);
      this.#synced(beganMs)
      if (monotonicMs() > directMs) {
        directMs = Infinity
        // Meanwhile changes are asked for as before.
        const look = async () => {
          this.#direct = await this.#reachDirect(directUrl!)
          directMs = monotonicMs() + directRetryMs
        }
        void look()
      }
      if (!this.#woken) await this.#sleep(told ? POLL_TOLD_MS : POLL_MS)
    }
  }

  /** Whether it is the store that the copy is of, and has gone on since, not back. */
  async #meet(connection: Connection): Promise<void> {
    const id = await storeId(connection)
    const isFresh = this.#ageMs() < this.#options.maxStaleMs
    if (this.#state !== null && this.#state.storeId !== id && isFresh) {
      throw new KeySchemaError(
        `It is another store than the one that ${this.#options.path} is a copy of: if that is right, ` +
          'stop the sidecar and remove the copy',
      )
    }
    const timeline = await timelineOf(connection)
    const state = this.#state
    if (state?.storeId === id && state.position !== '') {
      const why = await changedSince(connection, state, timeline)
      if (why === null) {
        this.#state = { ...state, timeline: timeline === '' ? state.timeline : timeline }
        return
      }
      this.#options.log.warn({}, `The store of keys ${why}: all keys are read again`)
    }
    await this.#readAll(connection, { storeId: id, timeline })
  }

  /** All keys, one page after the other; what is known already goes on until the last of them is there. */
  async #readAll(
    connection: Connection,
    server: Pick<CopyState, 'storeId' | 'timeline'>,
  ): Promise<void> {
    const keyIds = new Set<string>()
    let position = BEGINNING
    for (;;) {
      const { records, last } = await readPage(connection, position)
      this.#copy.put(records)
      this.#changes += 1
      for (const { keyId } of records) keyIds.add(keyId)
      position = last ?? position
      if (records.length < PAGE_MAX) break
    }
    const next = { ...server, position, syncedAtMs: wallMs() }
    this.#copy.complete(keyIds, next)
    this.#state = next
    this.#changes += 1
  }

  /** Takes the next page of changes; answers how many there were. */
  async #pull(connection: Connection): Promise<number> {
    const state = this.#state!
    const { records, last } = await readPage(connection, state.position)
    if (last !== null) {
      const next = { ...state, position: last, syncedAtMs: wallMs() }
      this.#copy.advance(records, next)
      // Only now: where the disk fails, the same changes are asked for again.
      this.#state = next
      this.#changes += 1
    }
    return records.length
  }

  #synced(beganMs: number): void {
    const nowMs = monotonicMs()
    this.#syncedMs = nowMs
    this.#beganMs = beganMs
    if (nowMs - this.#stateKeptMs > STATE_KEPT_MS) {
      this.#stateKeptMs = nowMs
      this.#state = { ...this.#state!, syncedAtMs: wallMs() }
      this.#copy.advance([], this.#state)
    }
    if (this.#failure !== null) this.#options.log.info({}, 'The key store is followed again')
    this.#failure = null
    this.#isFollowing = true
    this.#patience.statement.shorter()
    this.#onFirst?.()
    this.#onSynced()
  }

  #failed(error: Error): void {
    if (this.#closed) return
    const isNew = this.#failure?.message !== error.message
    this.#failure = error
    if (isNew) this.#options.log.warn({ code: 'AUTH_UNAVAILABLE' }, this.#about(error))
    this.#onFirst?.()
  }

  #about(error: Error): string {
    const place = keysPlace(this.#options.url)
    return `Cannot follow the key store ${place} (auth.keys.url): ${keysMessage(error)}`
  }

  #wakeUp(): void {
    this.#woken = true
    this.#wake?.()
  }

  #sleep(timeMs: number): Promise<void> {
    if (this.#closed) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeMs)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

async function readPage(
  connection: Connection,
  position: string,
): Promise<{ readonly records: KeyRecord[]; readonly last: string | null }> {
  const { rows } = await connection.query<KeyRow & { position: string }>(CHANGES, [position])
  return { records: rows.map(keyOfRow), last: rows.at(-1)?.position ?? null }
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, timeMs).unref())
}
