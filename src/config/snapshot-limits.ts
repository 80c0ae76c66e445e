import type { Selectors } from './snapshot-policies.ts'

/** The part of the snapshot about limits and prices. */

/** So much in a time; what is counted says the member that holds it. */
export interface Rate {
  /** At most `count` in any `windowMs`; for a calendar period `windowMs` is its longest length. */
  readonly count: number
  readonly windowMs: number
  /** `day`, `week` and `month` are calendar periods in `timeZone`; null is a sliding window. */
  readonly calendar: 'day' | 'week' | 'month' | null
}

/** Prices in pico-USD per token, which is micro-USD per million tokens: integers. */
export interface PriceConfig {
  readonly inputPico: number
  readonly outputPico: number
  readonly cachedPico: number
  readonly reasoningPico: number
  readonly batchInputPico: number
  readonly batchOutputPico: number
}

/** What calls cost, beside the table that comes along. */
export interface PricesConfig {
  /** What becomes of a call that has no price under a limit on cost. */
  readonly unknown: 'allow' | 'deny'
  /** The file's own, by model as written; may hold `*`. */
  readonly models: Readonly<Record<string, PriceConfig>>
}

/** The figures of a limit; null sets none. At least one of them is set. */
export interface LimitFigures {
  readonly requests: Rate | null
  /** Bucket size; null is a sliding window. Never with a calendar rate. */
  readonly burst: number | null
  readonly concurrent: number | null
  /** Tokens in a window. */
  readonly tokens: Rate | null
  /** Nano-USD in a window. */
  readonly cost: Rate | null
}

/** One limit: each `per` has its own count. */
export interface LimitConfig extends LimitFigures {
  readonly id: string
  readonly per: 'global' | 'tenant' | 'key' | 'user' | 'ip'
  /** Selectors without `input`; null is every call. */
  readonly for: Selectors | null
  readonly timeZone: string
  /** Tokens reserved for an answer at most. */
  readonly reserveOutput: number
  readonly onStoreLoss: 'local_share' | 'allow' | 'deny'
  /** The first that matches replaces the figures. */
  readonly overrides: readonly ({ readonly for: Selectors } & LimitFigures)[]
}

/** A shared store that takes more words than a URL; secrets are resolved. */
export interface RedisPlace {
  readonly kind: 'server' | 'sentinel' | 'cluster'
  /** The one server, or some of the Sentinels or of the nodes: the others are asked for. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  /** An ACL user; null is Redis' own default. */
  readonly user: string | null
  readonly password: string | null
  /** 0 in a Cluster. */
  readonly database: number
  /** `ca`: certificates to trust instead of the usual; `file` is absolute. */
  readonly tls: { readonly ca: { readonly file: string; readonly pem: string } | null } | null
  /** How the Sentinels call the primary, and what they ask for themselves; null for others. */
  readonly sentinel: {
    readonly name: string
    readonly user: string | null
    readonly password: string | null
  } | null
}
