import type { Pool } from 'pg'

import { every, monotonicMs } from '../clock.ts'
import type { PoolState } from '../metrics.ts'
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

/**
 * Ownership in the table `governor.owned` of PostgreSQL, shared by all sidecars that name it. A record
 * is committed when `claim` resolves. Times are those of the server.
 */
export class PostgresOwners implements OwnerStore {
  readonly #pool: Pool
  readonly #bounds: OwnerBounds
  readonly #stopSweeping: () => void
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

  async find(ids: readonly string[]): Promise<ReadonlyMap<string, Owned>> {
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
    return counted(found, ids, this.#bounds)
  }

  async claim(claims: readonly Owned[]): Promise<readonly string[]> {
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
    return rows.map(({ id }) => id)
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

  async #query<Found extends object>(text: string, values: readonly unknown[]): Promise<Found[]> {
    try {
      const { rows } = await within(
        this.#bounds.timeoutMs,
        this.#pool.query<Found>(text, [...values]),
      )
      this.#isAway = false
      return rows
    } catch (error) {
      this.#isAway = true
      throw error
    }
  }
}
