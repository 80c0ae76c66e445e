/** Who created what a provider keeps: the one table that all sidecars of a provider's account share. */

import type { PoolState } from '../metrics.ts'

/** A thing of a tenant, as it was written down before its id left. */
export interface Owned {
  /** As the provider named it. */
  readonly id: string
  readonly tenant: string
  /** Request id of the call that created it. */
  readonly origin: string
  /** Models of that call, so that policies about them see what is fetched later. */
  readonly models: readonly string[]
  /** What it produces comes later and was not charged yet: a background response, a batch. */
  readonly isAwaited: boolean
}

/**
 * Where ownership is kept. Every method rejects with an Error when the store cannot be asked in time;
 * nothing is ever answered from what was true before.
 */
export interface OwnerStore {
  /** Those of `ids` that anybody owns, by id. Expired ones are nobody's. */
  find(ids: readonly string[]): Promise<ReadonlyMap<string, Owned>>
  /**
   * Resolves once all are durable; with the ids that another tenant owns already, which stay its own. An id
   * of the same tenant stays as it was.
   */
  claim(claims: readonly Owned[], nowMs: number): Promise<readonly string[]>
  /** Takes what others own from them: from now on it is `NOBODY`'s until the record expires. */
  contest(ids: readonly string[]): Promise<void>
  /** Notes that what it produced is charged; true for the one that came first. */
  settle(id: string): Promise<boolean>
  /** Forgets a thing that is gone; only where `tenant` owns it. */
  forget(id: string, tenant: string): Promise<void>
  /** Why `tenant` can create nothing now, in words for a client; null when all is well. */
  fault(tenant: string): string | null
  /** To a database; absent where there is none. */
  readonly connections?: PoolState
  /** Records of all tenants, as they were last counted and have been written since. */
  readonly records: number
  /** Removes what has expired and finds out anew whether there is a fault. Never rejects. */
  sweep(): Promise<void>
  close(): Promise<void>
}

/** Owns what a provider gave two tenants the same id for. No tenant has this name. */
export const NOBODY = ''

/** What became of a look-up or of an entry, for the metrics. */
export type OwnerCount = 'hit' | 'miss' | 'expired'

/** The bounds of a store. */
export interface OwnerBounds {
  /** Records beyond which nothing new is written; as to how many of them are of one tenant, see `Shares`. */
  readonly recordsMax: number
  /** How long a record counts. */
  readonly expiresMs: number
  /** The longest wait for an answer of the store. */
  readonly timeoutMs: number
  /** Is told of ids that were looked for and were somebody's or nobody's, and of records that went. */
  count(what: OwnerCount, by: number): void
}

/** Models remembered of a call. */
export const MODELS_MAX = 32

/** Words of `fault` for a store that has as many records as it may have, of all or of a tenant. */
export const FULL = 'the store of owners is full'
/** Words of `fault` for a store that did not answer. */
export const AWAY = 'the store of owners cannot be reached'
/** How often expired records are removed and the rest are counted. */
export const SWEEP_MS = 60_000
/** Expired records removed in one go. */
export const SWEPT_MAX = 10_000

/** The same records; `count` hears how many of `ids` they are. */
export function counted(
  found: Map<string, Owned>,
  ids: readonly string[],
  { count }: Pick<OwnerBounds, 'count'>,
): ReadonlyMap<string, Owned> {
  if (found.size > 0) count('hit', found.size)
  if (found.size < ids.length) count('miss', ids.length - found.size)
  return found
}

/** Settles as `work`, or rejects after `timeoutMs`. */
export async function within<Result>(timeoutMs: number, work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer after ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
