import type { Trail, UsedException } from '../exchange.ts'
import type { FoldedEntry } from './fold.ts'

/** At most one entry of an exception in this time. */
const TOGETHER_MS = 10_000
const CALLERS_MAX = 16
const CALLER_CHARS_MAX = 64

interface Use {
  readonly exception: UsedException
  readonly policyDigest: string
  readonly sinceMs: number
  readonly firstRequestId: string
  readonly keyIds: Set<string>
  moreKeys: boolean
  count: number
}

/**
 * Gathers calls that an approved exception let through, so that `exception.used` tells of many at
 * once; the decision of each call names the exception by itself. Holds at most what one snapshot
 * declares. Pure: `nowMs` is the wall clock, milliseconds since 1970.
 */
export class ExceptionFold {
  readonly #uses = new Map<string, Use>()

  /** Counts a call that was let through, for each of its exceptions. */
  used(trail: Trail, exceptions: readonly UsedException[], nowMs: number): void {
    for (const exception of exceptions) this.#count(trail, exception, nowMs)
  }

  /** What has to be appended by now; mostly nothing. */
  due(nowMs: number): FoldedEntry[] {
    return this.#collect(nowMs, ({ sinceMs }) => {
      // A clock that went backwards ends the time too.
      return nowMs - sinceMs >= TOGETHER_MS || nowMs < sinceMs
    })
  }

  /** Everything that is still only counted; for the end. */
  drain(nowMs: number): FoldedEntry[] {
    return this.#collect(nowMs, () => true)
  }

  #count(trail: Trail, exception: UsedException, nowMs: number): void {
    const { policyDigest, requestId, principal } = trail
    const name = `${policyDigest} ${exception.id}`
    let use = this.#uses.get(name)
    if (use === undefined) {
      use = {
        exception,
        policyDigest,
        sinceMs: nowMs,
        firstRequestId: requestId,
        keyIds: new Set(),
        moreKeys: false,
        count: 0,
      }
      this.#uses.set(name, use)
    }
    use.count++
    const keyId = (principal?.keyId ?? '').slice(0, CALLER_CHARS_MAX)
    if (use.keyIds.has(keyId) || keyId === '') return
    if (use.keyIds.size < CALLERS_MAX) use.keyIds.add(keyId)
    else use.moreKeys = true
  }

  #collect(nowMs: number, isDue: (use: Use) => boolean): FoldedEntry[] {
    const entries: FoldedEntry[] = []
    for (const [name, use] of this.#uses) {
      if (!isDue(use)) continue
      this.#uses.delete(name)
      entries.push({
        kind: 'exception.used',
        occurredAtUs: nowMs * 1000,
        body: useBody(use, nowMs),
      })
    }
    return entries
  }
}

function useBody(use: Use, nowMs: number): string {
  const { id, policy, reason, approvedBy, expiresMs } = use.exception
  return JSON.stringify({
    kind: 'exception.used',
    time: new Date(nowMs).toISOString(),
    since: new Date(use.sinceMs).toISOString(),
    exception: id,
    policy,
    reason: reason.toWellFormed(),
    approved_by: approvedBy.toWellFormed(),
    expires: new Date(expiresMs).toISOString(),
    count: use.count,
    key_ids: use.keyIds.size === 0 ? undefined : [...use.keyIds],
    more_keys: use.moreKeys || undefined,
    first_request_id: use.firstRequestId,
    policy_digest: use.policyDigest,
  })
}
