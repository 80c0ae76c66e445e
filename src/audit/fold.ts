import type { ErrorCode } from '../errors.ts'
import type { Kind } from './chain.ts'

/** An entry made of many refusals. */
export interface FoldedEntry {
  readonly kind: Kind
  readonly occurredAtUs: number
  readonly body: string
}

/** Refusals of one key recorded one by one in a second. */
const REFUSALS_PER_SECOND = 20
const SECOND_MS = 1_000
/** A folded refusal is told after this and a look: a crash loses less than its last second. */
const FOLDED_MS = 600
/** At most one `unauthenticated` entry in this time. */
const UNAUTHENTICATED_MS = 10_000
const PEERS_MAX = 16
const PEER_CHARS_MAX = 64
const KEY_CHARS_MAX = 64
/** Keys counted apart; the rest share one count, so that many keys cannot grow memory. */
const KEYS_MAX = 1_024
/** Stands for every key beyond the table; no key has this id. */
const OTHERS = '*'

type Codes = Map<ErrorCode, number>

interface KeyWindow {
  startMs: number
  count: number
  /** When the first of `folded` was. */
  foldedSinceMs: number
  readonly folded: Codes
}

/**
 * Keeps floods of refusals from filling the log: calls without a valid key become counts, and one
 * key's refusals beyond 20 a second become one entry with `repeated`. Nothing is forgotten, only
 * told in fewer words. Pure: `nowMs` is the wall clock, milliseconds since 1970.
 */
export class Fold {
  #unauthenticatedSinceMs = 0
  readonly #codes: Codes = new Map()
  readonly #peers = new Set<string>()
  #morePeers = false
  readonly #keys = new Map<string, KeyWindow>()

  /** Counts a call that was refused before anybody knew who made it. */
  unauthenticated(code: ErrorCode, peer: string, nowMs: number): void {
    if (this.#codes.size === 0) this.#unauthenticatedSinceMs = nowMs
    add(this.#codes, code)
    const short = peer.slice(0, PEER_CHARS_MAX)
    if (this.#peers.has(short)) return
    if (this.#peers.size < PEERS_MAX) this.#peers.add(short)
    else this.#morePeers = true
  }

  /** Whether this refusal gets an entry of its own. `keyId` is '' for a pod without a key. */
  refusal(keyId: string, code: ErrorCode, nowMs: number): 'record' | 'folded' {
    const window = this.#window(keyId, nowMs)
    if (isOver(window.startMs, SECOND_MS, nowMs) && window.folded.size === 0) {
      window.startMs = nowMs
      window.count = 0
    }
    window.count++
    if (window.count <= REFUSALS_PER_SECOND) return 'record'
    if (window.folded.size === 0) window.foldedSinceMs = nowMs
    add(window.folded, code)
    return 'folded'
  }

  /** What has to be appended by now; mostly nothing. Call it about five times a second. */
  due(nowMs: number): FoldedEntry[] {
    return this.#collect(nowMs, false)
  }

  /** Everything that is still only counted; for the end. */
  drain(nowMs: number): FoldedEntry[] {
    return this.#collect(nowMs, true)
  }

  #window(keyId: string, nowMs: number): KeyWindow {
    const known = this.#keys.get(keyId)
    if (known !== undefined) return known
    const id = this.#keys.size < KEYS_MAX ? keyId : OTHERS
    const shared = this.#keys.get(id)
    if (shared !== undefined) return shared
    const window: KeyWindow = { startMs: nowMs, count: 0, foldedSinceMs: 0, folded: new Map() }
    this.#keys.set(id, window)
    return window
  }

  #collect(nowMs: number, all: boolean): FoldedEntry[] {
    const entries: FoldedEntry[] = []
    const over = all || isOver(this.#unauthenticatedSinceMs, UNAUTHENTICATED_MS, nowMs)
    if (this.#codes.size > 0 && over) entries.push(this.#takeUnauthenticated(nowMs))
    for (const [keyId, window] of this.#keys) {
      const ended = all || isOver(window.startMs, SECOND_MS, nowMs)
      const isDue = ended || isOver(window.foldedSinceMs, FOLDED_MS, nowMs)
      if (window.folded.size > 0 && isDue) {
        entries.push(foldedRefusals(keyId, window, nowMs))
        window.folded.clear()
      }
      if (ended) this.#keys.delete(keyId)
    }
    return entries
  }

  #takeUnauthenticated(nowMs: number): FoldedEntry {
    const body = JSON.stringify({
      kind: 'unauthenticated',
      time: timeOf(nowMs),
      since: timeOf(this.#unauthenticatedSinceMs),
      codes: Object.fromEntries(this.#codes),
      peers: [...this.#peers].map((peer) => peer.toWellFormed().replaceAll('\0', '\u2400')),
      more_peers: this.#morePeers || undefined,
    })
    this.#codes.clear()
    this.#peers.clear()
    this.#morePeers = false
    return { kind: 'unauthenticated', occurredAtUs: nowMs * 1000, body }
  }
}

/** A clock that went backwards ends a window too, rather than keeping it for hours. */
function isOver(startMs: number, lengthMs: number, nowMs: number): boolean {
  return nowMs - startMs >= lengthMs || nowMs < startMs
}

function add(codes: Codes, code: ErrorCode): void {
  codes.set(code, (codes.get(code) ?? 0) + 1)
}

function foldedRefusals(keyId: string, window: KeyWindow, nowMs: number): FoldedEntry {
  let repeated = 0
  for (const count of window.folded.values()) repeated += count
  const body = JSON.stringify({
    kind: 'decision',
    time: timeOf(nowMs),
    since: timeOf(window.foldedSinceMs),
    key_id: keyId === '' ? undefined : keyId.slice(0, KEY_CHARS_MAX),
    decision: 'deny',
    codes: Object.fromEntries(window.folded),
    repeated,
  })
  return { kind: 'decision', occurredAtUs: nowMs * 1000, body }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
