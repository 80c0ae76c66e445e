import { hash, randomBytes } from 'node:crypto'
import { Socket } from 'node:net'
import { join } from 'node:path'

import bcrypt from 'bcrypt'

import { authenticate } from '../src/auth/authenticate.ts'
import { KeyRing } from '../src/auth/key-ring.ts'
import { SqliteKeyStore } from '../src/auth/key-store-sqlite.ts'
import { generateKey, type KeyRecord } from '../src/auth/key.ts'
import { monotonicMs, wallMs } from '../src/clock.ts'
import { median } from './statistics.ts'

/** What authentication costs by itself, beside one hash of the same credential. */

/** One size of store; microseconds a call, medians over the rounds. */
export interface Authenticating {
  readonly keys: number
  /** Whose keys were verified before, called in turn. */
  readonly callers: number
  readonly warmUs: number
  /** An empty function and one `crypto.hash` of the credential. */
  readonly bareUs: number
  /** A look into the store for a key that is in no cache. */
  readonly findUs: number
}

export interface KeysPlan {
  readonly rounds: number
  readonly calls: number
  readonly sizes: readonly number[]
  readonly directory: string
  readonly say: (text: string) => void
}

const CALLERS_MAX = 1000
const ADD_MAX = 10_000
const WAYS = { tokens: null, certificate: null, pod: null }
const socket = new Socket()

/** Measures all of it: half a minute, or seconds when the plan is small. */
export async function measureKeys(plan: KeysPlan): Promise<readonly Authenticating[]> {
  const found: Authenticating[] = []
  for (const keys of plan.sizes) {
    plan.say(`keys, ${keys} in the store`)
    found.push(await measureStore(keys, plan))
  }
  return found
}

async function measureStore(keys: number, plan: KeysPlan): Promise<Authenticating> {
  const store = SqliteKeyStore.open(join(plan.directory, `keys-${keys}.db`))
  try {
    const callers = await fill(store, keys)
    const ring = new KeyRing(store)
    const nowMs = wallMs()
    const call = (key: string) => {
      const headers = { authorization: `Bearer ${key}` }
      return authenticate({ headers, socket, ip: '127.0.0.1' }, ring, WAYS, nowMs)
    }
    for (const key of callers) await call(key)
    const processKey = randomBytes(32).toString('base64')
    const bare = (key: string) => hash('sha256', processKey + key, 'base64')
    const look = (key: string) => store.find(key.slice(0, 36))
    // Compiled before it counts.
    for (const act of [call, bare, look]) timed(act, callers, Math.min(plan.calls, 20_000))
    const rounds = Array.from({ length: plan.rounds }, () => ({
      warmUs: timed(call, callers, plan.calls),
      bareUs: timed(bare, callers, plan.calls),
      findUs: timed(look, callers, Math.min(plan.calls, 20_000)),
    }))
    return {
      keys,
      callers: callers.length,
      warmUs: median(rounds.map(({ warmUs }) => warmUs)),
      bareUs: median(rounds.map(({ bareUs }) => bareUs)),
      findUs: median(rounds.map(({ findUs }) => findUs)),
    }
  } finally {
    await store.close()
  }
}

/** Keys of callers among those of others. */
async function fill(store: SqliteKeyStore, keys: number): Promise<string[]> {
  const { secret } = generateKey()
  // The smallest factor: what is measured comes after it.
  const secretHash = await bcrypt.hash(secret, 4)
  const records = Array.from({ length: keys }, (_, index) => recordOf(index, secretHash))
  for (let at = 0; at < keys; at += ADD_MAX) await store.add(records.slice(at, at + ADD_MAX))
  const step = Math.max(1, Math.floor(keys / CALLERS_MAX))
  const callers = records.filter((_, index) => index % step === 0).slice(0, CALLERS_MAX)
  return callers.map(({ keyId }) => `${keyId}.${secret}`)
}

function recordOf(index: number, secretHash: string): KeyRecord {
  return {
    keyId: generateKey().keyId,
    tenant: `tenant-${index % 100}`,
    name: `key-${index}`,
    user: '',
    roles: ['developer'],
    labels: { tier: 'gold' },
    upstreams: [],
    hash: secretHash,
    former: null,
    createdAtMs: 1_700_000_000_000 + index,
    expiresAtMs: null,
    revokedAtMs: null,
  }
}

function timed(act: (key: string) => unknown, keys: readonly string[], calls: number): number {
  const beganMs = monotonicMs()
  for (let call = 0; call < calls; call++) act(keys[call % keys.length]!)
  return ((monotonicMs() - beganMs) * 1000) / calls
}
