import { randomBytes } from 'node:crypto'

import { NOTHING_UNUSUAL, type Spent, UNUSUAL, type Unusual } from '../exchange.ts'
import { Trend } from './trend.ts'

/** Keys whose past is kept, some 10 MB; the one that came first is forgotten for another. */
const KEYS_MAX = 10_000
/** Networks and clients kept of one key. */
const PLACES_MAX = 16
/** A key is known after both: until then nothing about it is unusual. */
const KNOWN_AFTER_MS = 3_600_000
const KNOWN_AFTER_CALLS = 100
/** What a known key is seen with for the first time is new for a day. */
const NEW_FOR_MS = 86_400_000

/** In a minute: a call a second, tokens of some pages, 0.10 USD in nano-USD. */
const CALLS_FLOOR = 60
const TOKENS_FLOOR = 20_000
const COST_FLOOR = 100_000_000

/** Every combination, by its bits in the order of `UNUSUAL`: none is made for a call. */
const COMBINATIONS: readonly (readonly Unusual[])[] = Array.from({ length: 16 }, (_, bits) => {
  return bits === 0 ? NOTHING_UNUSUAL : UNUSUAL.filter((_each, at) => (bits & (1 << at)) !== 0)
})

/** A network or client of one key, by its salted hash. */
interface Place {
  readonly hash: number
  readonly firstMs: number
  seenMs: number
  /** False while it is new. */
  isUsual: boolean
}

class Past {
  readonly sinceMs: number
  calls = 0
  readonly networks: Place[] = []
  readonly clients: Place[] = []
  readonly rate: Trend
  readonly tokens: Trend
  readonly cost: Trend

  constructor(nowMs: number) {
    this.sinceMs = nowMs
    this.rate = new Trend(CALLS_FLOOR, nowMs)
    this.tokens = new Trend(TOKENS_FLOOR, nowMs)
    this.cost = new Trend(COST_FLOOR, nowMs)
  }

  isLearning(nowMs: number): boolean {
    return this.calls < KNOWN_AFTER_CALLS || nowMs - this.sinceMs < KNOWN_AFTER_MS
  }
}

/**
 * What each key usually does, so that a call can be told apart from its own past: its network (IPv4 by
 * /24, IPv6 by /48), its kind of client (the first name in `user-agent`, without a version), calls,
 * tokens and cost in a minute. Learned by each process anew and kept in its memory only, addresses and
 * names as hashes with a salt of the process. Decides nothing. Pure: `nowMs` is monotonic milliseconds.
 */
export class UsualUse {
  readonly #salt: number
  readonly #keysMax: number
  readonly #pasts = new Map<string, Past>()

  constructor({ salt = randomBytes(4).readUInt32LE(), keysMax = KEYS_MAX } = {}) {
    this.#salt = salt
    this.#keysMax = keysMax
  }

  /** How many keys have a past at the moment. */
  get size(): number {
    return this.#pasts.size
  }

  /**
   * Counts a call and says what is unusual about it. `keyId` '' is a pod without a key, which has no
   * past; `ip` as limits see it.
   */
  look(
    { keyId, ip }: { readonly keyId: string; readonly ip: string },
    userAgent: string | undefined,
    nowMs: number,
  ): readonly Unusual[] {
    if (keyId === '') return NOTHING_UNUSUAL
    let past = this.#pasts.get(keyId)
    if (past === undefined) past = this.#begin(keyId, nowMs)
    past.calls += 1
    const learning = past.isLearning(nowMs)
    past.rate.add(1, nowMs, learning)
    const network = networkHash(ip, this.#salt)
    const client = clientHash(userAgent ?? '', this.#salt)
    const newNetwork = isNew(past.networks, network, nowMs, learning)
    const newClient = isNew(past.clients, client, nowMs, learning)
    if (learning) return NOTHING_UNUSUAL
    const spends = past.tokens.isHigh(nowMs) || past.cost.isHigh(nowMs)
    const bits =
      (newNetwork ? 1 : 0) |
      (newClient ? 2 : 0) |
      (past.rate.isHigh(nowMs) ? 4 : 0) |
      (spends ? 8 : 0)
    return COMBINATIONS[bits]!
  }

  /** Counts what a call of the key took, when it has ended. */
  spent(keyId: string, { tokens, costNanoUsd }: Spent, nowMs: number): void {
    const past = this.#pasts.get(keyId)
    if (past === undefined) return
    const learning = past.isLearning(nowMs)
    past.tokens.add(tokens, nowMs, learning)
    if (costNanoUsd !== null) past.cost.add(costNanoUsd, nowMs, learning)
  }

  #begin(keyId: string, nowMs: number): Past {
    if (this.#pasts.size >= this.#keysMax) this.#pasts.delete(this.#pasts.keys().next().value!)
    const past = new Past(nowMs)
    this.#pasts.set(keyId, past)
    return past
  }
}

/** Whether the key was first seen with it less than a day ago; notes that it was seen. */
function isNew(places: Place[], hash: number, nowMs: number, learning: boolean): boolean {
  let place: Place | undefined
  for (const each of places) if (each.hash === hash) place = each
  if (place === undefined) {
    place = { hash, firstMs: nowMs, seenMs: nowMs, isUsual: learning }
    keep(places, place)
  }
  place.seenMs = nowMs
  if (!place.isUsual && nowMs - place.firstMs >= NEW_FOR_MS) place.isUsual = true
  return !place.isUsual
}

/**
 * Where there is no room, the new ones make it: whoever comes from many places must not make those
 * forgotten that are usual. Where all are usual, the one that was not seen for longest goes.
 */
function keep(places: Place[], place: Place): void {
  if (places.length >= PLACES_MAX) {
    let going = 0
    for (let at = 1; at < places.length; at++) {
      if (goesBefore(places[at]!, places[going]!)) going = at
    }
    places.splice(going, 1)
  }
  places.push(place)
}

function goesBefore(one: Place, other: Place): boolean {
  if (one.isUsual !== other.isUsual) return !one.isUsual
  return one.seenMs < other.seenMs
}

const FNV_PRIME = 0x01000193

/** FNV-1a over the part of an address that names its network; `ip` is IPv4, or IPv6 as its /64. */
function networkHash(ip: string, salt: number): number {
  let hash = salt
  let parts = 0
  for (let at = 0; at < ip.length; at++) {
    const unit = ip.charCodeAt(at)
    // The third dot ends a /24, the third colon a /48.
    if ((unit === 0x2e || unit === 0x3a) && ++parts === 3) break
    hash = Math.imul(hash ^ unit, FNV_PRIME)
  }
  return hash >>> 0
}

const NAME_UNITS_MAX = 64

/** The same over the first name in a user agent, up to a space or its version, in lower case. */
function clientHash(userAgent: string, salt: number): number {
  let hash = ~salt
  const end = Math.min(userAgent.length, NAME_UNITS_MAX)
  for (let at = 0; at < end; at++) {
    const unit = userAgent.charCodeAt(at)
    if (unit === 0x20) break
    const next = userAgent.charCodeAt(at + 1)
    // `curl/8.5.0` is curl, `OpenAI/Python 1.54` is openai/python.
    if (unit === 0x2f && next >= 0x30 && next <= 0x39) break
    hash = Math.imul(hash ^ (unit >= 0x41 && unit <= 0x5a ? unit | 0x20 : unit), FNV_PRIME)
  }
  return hash >>> 0
}
