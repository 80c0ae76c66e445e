import { DatabaseError, type Pool } from 'pg'

import { every, monotonicMs } from '../clock.ts'
import type { PoolState } from '../metrics.ts'
import { Gathered } from './gathered.ts'
import { Shares } from './shares.ts'
import {
  AWAY,
  counted,
  FULL,
  NOBODY,
  type Owned,
  type OwnerBounds,
  type OwnerStore,
  SWEEP_MS,
  SWEPT_MAX,
  within,
} from './store.ts'

interface Row {
  readonly id: string
  readonly tenant: string
  readonly origin: string
  readonly models: string
  readonly awaited: boolean
}

/** When the table is counted again, at the earliest; it costs the server a scan. */
const COUNT_MS = 10 * 60_000
/** Ids in one statement, unless one caller alone has more. */
const IDS_MAX = 2_000

/**
 * Ownership in the table `governor.owned` of PostgreSQL, shared by all sidecars that name it. A record
 * is committed when `claim` resolves. Times are those of the server.
 */
export class PostgresOwners implements OwnerStore {
  readonly #pool: Pool
  readonly #bounds: OwnerBounds
  readonly #stopSweeping: () => void
  readonly #finds = new Gathered<readonly string[], ReadonlyMap<string, Owned>>({
    ask: (parts) => this.#findAll(parts),
    fits: (parts, ids) => countOf(parts) + ids.length <= IDS_MAX,
    isRefusal: isDataError,
  })
  readonly #claims = new Gathered<readonly Owned[], readonly string[]>({
    ask: (parts) => this.#claimAll(parts),
    fits: (parts, claims) => countOf(parts) + claims.length <= IDS_MAX && !shareIds(parts, claims),
    isRefusal: isDataError,
  })
  #isAway = false
  readonly #shares: Shares
  /** Somebody was refused since the last count. */
  #wasFull = false
  #countedAtMs = Number.NEGATIVE_INFINITY

  private constructor(pool: Pool, bounds: OwnerBounds) {
    this.#pool = pool
    this.#bounds = bounds
    this.#shares = new Shares(bounds.recordsMax)
    this.#stopSweeping = every(SWEEP_MS, () => void this.sweep())
  }

  /** Takes over `pool`. A database that cannot be reached now may be there when it is needed. */
  static async open(pool: Pool, bounds: OwnerBounds): Promise<PostgresOwners> {
    const store = new PostgresOwners(pool, bounds)
    await store.sweep()
    return store
  }

  get connections(): PoolState {
    const { totalCount, idleCount, waitingCount } = this.#pool
    return { open: totalCount, inUse: totalCount - idleCount, waiting: waitingCount }
  }

  get records(): number {
    return this.#shares.total
  }

  fault(tenant: string): string | null {
    if (this.#isAway) return AWAY
    if (!this.#shares.isFull(tenant)) return null
    this.#wasFull = true
    return FULL
  }

  find(ids: readonly string[]): Promise<ReadonlyMap<string, Owned>> {
    return this.#inTime(this.#finds.put(ids, this.#bounds.timeoutMs))
  }

  async #findAll(
    parts: readonly (readonly string[])[],
  ): Promise<readonly ReadonlyMap<string, Owned>[]> {
    // PostgreSQL keeps no NUL, and so nothing under an id with one.
    const ids = [...new Set(parts.flat())].filter((id) => !id.includes('\0'))
    const rows = await this.#query<Row>(
      `SELECT id, tenant, origin, models, awaited FROM governor.owned
        WHERE id = ANY($1::text[]) AND created_at > now() - $2 * interval '1 ms'`,
      [ids, this.#bounds.expiresMs],
    )
    const found = new Map<string, Owned>()
    for (const { id, tenant, origin, models, awaited } of rows) {
      const named = JSON.parse(models) as string[]
      found.set(id, { id, tenant, origin, models: named, isAwaited: awaited })
    }
    return parts.map((part) => {
      const theirs = part.flatMap((id) => found.get(id) ?? [])
      return counted(new Map(theirs.map((owned) => [owned.id, owned])), part, this.#bounds)
    })
  }

  claim(claims: readonly Owned[]): Promise<readonly string[]> {
    return this.#inTime(this.#claims.put(claims, this.#bounds.timeoutMs))
  }

  async #claimAll(parts: readonly (readonly Owned[])[]): Promise<readonly (readonly string[])[]> {
    const claims = parts.flat()
    const rows = await this.#query<{ readonly id: string }>(
      `WITH given AS (
          SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[])
            AS given (id, tenant, origin, models, awaited)
        ), made AS (
          INSERT INTO governor.owned (id, tenant, origin, models, awaited)
            SELECT id, tenant, origin, models, awaited FROM given ORDER BY id
            ON CONFLICT (id) DO UPDATE SET id = excluded.id
            RETURNING id, tenant
        )
        SELECT made.id FROM made JOIN given USING (id) WHERE made.tenant <> given.tenant`,
      [
        claims.map(({ id }) => id),
        claims.map(({ tenant }) => tenant),
        claims.map(({ origin }) => origin),
        claims.map(({ models }) => JSON.stringify(models)),
        claims.map(({ isAwaited }) => isAwaited),
      ],
    )
    this.#shares.add(claims.map(({ tenant }) => tenant))
    const others = new Set(rows.map(({ id }) => id))
    return parts.map((part) => part.map(({ id }) => id).filter((id) => others.has(id)))
  }

  async contest(ids: readonly string[]): Promise<void> {
    await this.#query('UPDATE governor.owned SET tenant = $2 WHERE id = ANY($1::text[])', [
      ids,
      NOBODY,
    ])
  }

  async settle(id: string): Promise<boolean> {
    const rows = await this.#query(
      'UPDATE governor.owned SET awaited = false WHERE id = $1 AND awaited RETURNING id',
      [id],
    )
    return rows.length === 1
  }

  async forget(id: string, tenant: string): Promise<void> {
    const text = 'DELETE FROM governor.owned WHERE id = $1 AND tenant = $2 RETURNING 1'
    const removed = await this.#query(text, [id, tenant])
    if (removed.length > 0) this.#shares.remove([tenant])
  }

  async close(): Promise<void> {
    this.#stopSweeping()
    await this.#pool.end().catch(() => {})
  }

  async sweep(): Promise<void> {
    try {
      const removed = await this.#query<{ readonly tenant: string }>(
        `DELETE FROM governor.owned WHERE id IN (SELECT id FROM governor.owned
          WHERE created_at <= now() - $1 * interval '1 ms' LIMIT $2 FOR UPDATE SKIP LOCKED)
          RETURNING tenant`,
        [this.#bounds.expiresMs, SWEPT_MAX],
      )
      if (removed.length > 0) this.#bounds.count('expired', removed.length)
      this.#shares.remove(removed.map(({ tenant }) => tenant))
      const dueMs = this.#wasFull ? SWEEP_MS : COUNT_MS
      if (monotonicMs() - this.#countedAtMs < dueMs) return
      this.#wasFull = false
      // A large table may take longer to count than a call may wait: that says nothing of calls.
      const counting = this.#pool.query<{ readonly tenant: string; readonly count: string }>(
        'SELECT tenant, count(*) AS count FROM governor.owned GROUP BY tenant',
      )
      const { rows } = await within(this.#bounds.timeoutMs, counting)
      this.#shares.recount(rows.map(({ tenant, count }) => [tenant, Number(count)] as const))
      this.#countedAtMs = monotonicMs()
    } catch {
      // `#query` has noted it; what is asked next says so.
    }
  }

  /** Whoever waited in vain knows that the store is away. */
  async #inTime<Answer>(answer: Promise<Answer>): Promise<Answer> {
    try {
      return await answer
    } catch (error) {
      this.#isAway ||= !isDataError(error)
      throw error
    }
  }

  async #query<Found extends object>(text: string, values: readonly unknown[]): Promise<Found[]> {
    try {
      const { rows } = await within(
        this.#bounds.timeoutMs,
        this.#pool.query<Found>(text, [...values]),
      )
      this.#isAway = false
      return rows
    } catch (error) {
      this.#isAway = !isDataError(error)
      throw error
    }
  }
}

function countOf(parts: readonly (readonly unknown[])[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0)
}

/** One statement cannot write an id twice, and which of two tenants had it first is then not lost. */
function shareIds(parts: readonly (readonly Owned[])[], claims: readonly Owned[]): boolean {
  const ids = new Set(claims.map(({ id }) => id))
  return parts.some((part) => part.some(({ id }) => ids.has(id)))
}

/** The server did not take what it was given, SQLSTATE class 22: it is there, and others may ask. */
function isDataError(error: unknown): boolean {
  return error instanceof DatabaseError && error.code?.startsWith('22') === true
}
