import type { Mode, Operation, Parameter, UninspectableKind } from '../exchange.ts'
import type { CertificateConfig, IssuerConfig, PodConfig, TlsConfig } from './snapshot-auth.ts'

export type {
  CertificateConfig,
  CertificateSource,
  ClaimsConfig,
  IssuerConfig,
  IssuerKeysConfig,
  PodConfig,
  TlsConfig,
} from './snapshot-auth.ts'

/**
 * The effective configuration: everything resolved, every unit lost into a name that carries it,
 * deeply frozen. A request keeps the snapshot it began with. Other areas import these types only.
 */
export interface Snapshot {
  /** Absolute path of the file. */
  readonly file: string
  /** SHA-256, hex, of the file's bytes; `policy_digest` in the audit entry. */
  readonly digest: string
  /** Absolute paths of the secret files it was made from; their content may change while the file does not. */
  readonly secretFiles: readonly string[]
  readonly listen: {
    readonly proxy: Address
    /** Of `proxy`; null is plain HTTP. */
    readonly tls: TlsConfig | null
    readonly admin: Address | null
    readonly health: Address | null
  }
  readonly upstreams: readonly UpstreamConfig[]
  readonly auth: {
    /** `path` is absolute. */
    readonly keys: {
      readonly store: 'sqlite'
      readonly path: string
      readonly bcryptCost: number
    }
    readonly pod: PodConfig | null
    readonly jwt: readonly IssuerConfig[]
    readonly certificate: CertificateConfig | null
  }
  readonly limits: readonly LimitConfig[]
  /** `memory`, or a redis:// or rediss:// URL, which may hold a password. */
  readonly limitStore: string
  readonly sidecars: number
  readonly prices: PricesConfig
  readonly defaults: {
    readonly decision: 'allow' | 'deny'
    readonly onError: 'allow' | 'deny'
    readonly unknownOperation: 'deny'
    readonly uninspectable: 'allow' | 'deny'
    readonly mode: Mode
  }
  /** alias → model name, as written. */
  readonly aliases: Readonly<Record<string, string>>
  readonly policies: readonly PolicyConfig[]
  readonly exceptions: readonly ExceptionConfig[]
  /** What `candidate` names, which has none itself; null without one. Its policies decide nothing. */
  readonly candidate: Snapshot | null
  readonly detectors: readonly DetectorConfig[]
  /** Run by `governor test` only. */
  readonly tests: readonly TestConfig[]
  readonly audit: {
    /** Absolute path. */
    readonly path: string
    readonly required: true
    readonly ack: 'disk' | 'postgres'
    readonly localBytesMax: number
    readonly content: 'none' | 'commitment'
    /** What `audit prune` keeps; null keeps everything. */
    readonly retentionMs: number | null
    /** Where signed checkpoints are published; `file` is absolute. */
    readonly checkpoints: { readonly file: string | null; readonly url: string | null }
    readonly ship: ShipConfig | null
  }
  readonly maximums: {
    readonly bodyBytes: number
    readonly decodedBytes: number
    readonly inFlightBytes: number
    readonly jsonDepth: number
    readonly streams: number
  }
  readonly timeouts: {
    readonly clientHeadersMs: number
    readonly clientBodyMs: number
    readonly connectMs: number
    readonly firstByteMs: number
    readonly idleMs: number
    readonly commitMs: number
    readonly drainMs: number
  }
}

/** Where entries of the audit are copied to; URL of PostgreSQL and credential are secrets. */
export type ShipConfig =
  | { readonly kind: 'postgres'; readonly url: string }
  | { readonly kind: 'http'; readonly url: string; readonly credential: string | null }

export interface Address {
  readonly host: string
  readonly port: number
}

/** Provider APIs that are spoken. */
export type DialectName = 'openai' | 'anthropic' | 'azure-openai' | 'gemini' | 'bedrock' | 'ollama'

export interface UpstreamConfig {
  readonly name: string
  readonly dialect: DialectName
  /** Without a trailing slash; `echo:` is the built-in upstream, with options as a query (`echo:?pace=20ms`). */
  readonly url: string
  /** Resolved secret; null for upstreams that need none. */
  readonly credential: string | null
  /** Patterns, `*` the only wildcard. */
  readonly models: readonly string[]
  readonly usage: 'ask' | 'observe'
  /** Certificates to trust, PEM; absent: the usual. `file` is absolute. */
  readonly ca?: { readonly file: string; readonly pem: string }
  /** Calls are signed with `credential` as the secret of this access key; absent: it is sent as a key. */
  readonly aws?: {
    readonly region: string
    readonly accessKeyId: string
    readonly sessionToken: string | null
  }
  /** Its place among the upstreams that stand in for each other; absent: it stands alone. */
  readonly group?: GroupConfig
  /** Absent: a failure is the client's to try again. */
  readonly retry?: RetryConfig
  /** Absent: it is called whatever came of the calls before. */
  readonly breaker?: BreakerConfig
  /** Absent: as many calls at once as there are. */
  readonly concurrency?: ConcurrencyConfig
  /** Models that stand in, in this order; absent: none. */
  readonly fallback?: { readonly models: readonly string[] }
  /** Its own, where `timeouts` of the file do not hold. */
  readonly timeouts?: {
    readonly connectMs: number | null
    readonly firstByteMs: number | null
    readonly idleMs: number | null
  }
}

export interface GroupConfig {
  readonly name: string
  /** Lower goes first. */
  readonly priority: number
  /** Its share among those of one priority. */
  readonly weight: number
}

export interface RetryConfig {
  /** Tries after the first one. */
  readonly attempts: number
  /** Statuses of answers that are tried again. */
  readonly on: readonly number[]
  readonly waitMsMax: number
  /** Retries per call, in the long run; 0 to 1. */
  readonly budget: number
  /** Also tries again what the provider may have worked on. */
  readonly maybeBilled: boolean
}

export interface BreakerConfig {
  /** In a row, after which it is not called. */
  readonly failures: number
  /** For how long at first. */
  readonly openMs: number
}

export interface ConcurrencyConfig {
  readonly calls: number
  /** Calls that wait for a place. */
  readonly queue: number
  readonly waitMsMax: number
}

/** Fields are AND, items of a field OR; an absent field is null and says nothing. `$set` names are resolved. */
export interface Selectors {
  readonly tenants: readonly string[] | null
  readonly keys: readonly string[] | null
  readonly users: readonly string[] | null
  readonly roles: readonly string[] | null
  /** All given must be equal; values may hold `*`. */
  readonly labels: Readonly<Record<string, string>> | null
  readonly operations: readonly Operation[] | null
  readonly models: readonly string[] | null
  readonly upstreams: readonly string[] | null
  /** Kinds of content that cannot be read; never with limits or exceptions. */
  readonly uninspectable: readonly UninspectableKind[] | null
  readonly input: InputSelector | null
  /** A CEL expression, checked at load; never with limits. */
  readonly when: string | null
}

export interface InputSelector {
  /** RE2 pattern, checked at load. */
  readonly matches: string | null
  /** Whole words, compared case-insensitively. */
  readonly words: readonly string[] | null
  readonly charsMax: number | null
  /** Ids of detectors, of `DETECTORS` or of the file. */
  readonly detect: readonly string[] | null
}

/** What a policy looks for in the answer. */
export interface OutputSelector {
  /** RE2 pattern, checked at load. */
  readonly matches: string | null
  /** As written, for patterns without a longest match. */
  readonly window: number | null
  /** Longest match of any pattern that a stream is held back for, UTF-16 units; 0 without patterns. */
  readonly windowUnits: number
  /** Whole words, compared case-insensitively. */
  readonly words: readonly string[] | null
  /** UTF-16 units of what the model says; refused is what exceeds it. */
  readonly charsMax: number | null
  /** Ids of detectors, of `DETECTORS` or of the file. */
  readonly detect: readonly string[] | null
}

/** A detector of the file's own. */
export type DetectorConfig = PatternDetectorConfig | ExternalDetectorConfig

export interface PatternDetectorConfig {
  readonly id: string
  /** RE2 pattern, checked at load. */
  readonly matches: string
  /** How sure a match is, 0 to 1. */
  readonly confidence: number
}

/** A detector that is a service, asked over HTTP. */
export interface ExternalDetectorConfig {
  readonly id: string
  readonly external: {
    /** Without a trailing slash. */
    readonly url: string
    /** Resolved secret; null where none is sent. */
    readonly credential: string | null
    readonly timeoutMs: number
    /** The most UTF-16 units of one call that are sent. */
    readonly charsMax: number
    readonly concurrency: number
    /** Texts whose verdict is remembered. */
    readonly cacheTexts: number
    readonly onError: 'allow' | 'deny'
  }
  readonly asks: PresidioQuestion | ModerationQuestion
}

export interface PresidioQuestion {
  readonly kind: 'presidio'
  readonly language: string
  /** Null is every entity the service knows. */
  readonly entities: readonly string[] | null
  /** 0 to 1. */
  readonly scoreMin: number
}

export interface ModerationQuestion {
  readonly kind: 'openai_moderation'
  readonly model: string
  /** Score by category from which on it counts; null is what the service flags. */
  readonly thresholds: Readonly<Record<string, number>> | null
}

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

export interface PricesConfig {
  /** What becomes of a call that has no price under a limit on cost. */
  readonly unknown: 'allow' | 'deny'
  /** The file's own, by model as written; may hold `*`. */
  readonly models: Readonly<Record<string, PriceConfig>>
}

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

export interface PolicyConfig {
  readonly id: string
  readonly mode: Mode
  readonly message: string | null
  readonly for: Selectors | null
  readonly verb: 'allow' | 'deny' | 'require' | 'redact' | 'set'
  /** The verb's own selectors; of `redact`, its `input` is what is masked and all others are null. */
  readonly selectors: Selectors
  /** Looked for in the answer; absent where the policy is about calls only. */
  readonly output?: OutputSelector
  /** Of a `redact` that puts values back into the answer; absent of every other policy. */
  readonly restore?: true
  /** What a `set` puts and clamps, which has no selectors; absent of every other verb. */
  readonly settings?: readonly SettingConfig[]
}

/** What a `set` makes of one parameter; null says nothing. */
export interface SettingConfig {
  readonly parameter: Parameter
  /** Put whatever was sent. */
  readonly value: number | string | null
  /** Put where nothing was sent. */
  readonly default: number | string | null
  readonly atMost: number | null
  readonly atLeast: number | null
}

/** An approved exception: lifts one policy from the calls it is about, until it ends. */
export interface ExceptionConfig {
  readonly id: string
  /** Id of a policy that is not an `allow`. */
  readonly policy: string
  /** Selectors without `input` and `when`; null is every call. */
  readonly for: Selectors | null
  readonly reason: string
  readonly approvedBy: string
  /** The first moment at which it no longer holds, milliseconds since 1970. */
  readonly expiresMs: number
}

/** A request that is described instead of made; '' and empty where the description says nothing. */
export interface DescribedRequest {
  readonly tenant: string
  readonly user: string
  /** Stands for the id and the name of a key; '' is a caller without one. */
  readonly key: string
  readonly roles: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly operation: Operation
  readonly model: string
  readonly input: readonly string[]
  readonly stream: boolean
  readonly maxOutputTokens: number | null
  readonly tools: readonly string[]
  /** Ids of external detectors that would find something. */
  readonly detected: readonly string[]
  /** Kinds of content that cannot be read. */
  readonly uninspectable: readonly UninspectableKind[]
  /** Milliseconds since 1970; null is now. */
  readonly timeMs: number | null
}

/** One test: null asserts nothing. */
export interface TestConfig {
  readonly name: string
  readonly request: DescribedRequest
  /** What the model answers; null where the test is about the call alone. */
  readonly answer?: readonly string[] | null
  readonly expect: {
    readonly decision: 'allow' | 'deny'
    readonly policy: string | null
    readonly reason: string | null
    readonly why: string | null
    /** The input as it goes on. */
    readonly redacted?: readonly string[] | null
    /** The answer as it goes on. */
    readonly answer?: readonly string[] | null
    /** Parameters as they go on; a null one is not asked about. */
    readonly set?: Readonly<Partial<Record<Parameter, number | string | null>>> | null
  }
}
