import type { Mode, OwnOperation } from '../exchange.ts'
import type {
  CertificateConfig,
  IssuerConfig,
  KeysConfig,
  PodConfig,
  TlsConfig,
} from './snapshot-auth.ts'
import type { DetectorConfig } from './snapshot-detectors.ts'
import type { LimitConfig, PricesConfig, RedisPlace } from './snapshot-limits.ts'
import type { OwnershipConfig } from './snapshot-ownership.ts'
import type { ExceptionConfig, PolicyConfig } from './snapshot-policies.ts'
import type { TestConfig } from './snapshot-tests.ts'
import type { UpstreamConfig } from './snapshot-upstreams.ts'

export type {
  CertificateConfig,
  CertificateSource,
  ClaimsConfig,
  IssuerConfig,
  IssuerKeysConfig,
  KeysConfig,
  PodConfig,
  PostgresKeysConfig,
  TlsConfig,
} from './snapshot-auth.ts'
export type {
  DetectorConfig,
  ExternalDetectorConfig,
  ModerationQuestion,
  PatternDetectorConfig,
  PresidioQuestion,
} from './snapshot-detectors.ts'
export type {
  LimitConfig,
  LimitFigures,
  PriceConfig,
  PricesConfig,
  Rate,
  RedisPlace,
} from './snapshot-limits.ts'
export type { OwnershipConfig } from './snapshot-ownership.ts'
export type {
  ExceptionConfig,
  InputSelector,
  OutputSelector,
  PolicyConfig,
  Selectors,
  SettingConfig,
} from './snapshot-policies.ts'
export type { DescribedRequest, TestConfig } from './snapshot-tests.ts'
export type {
  AwsChain,
  AzureChain,
  BreakerConfig,
  ConcurrencyConfig,
  DialectName,
  GroupConfig,
  RetryConfig,
  UpstreamConfig,
} from './snapshot-upstreams.ts'

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
    readonly keys: KeysConfig
    readonly pod: PodConfig | null
    readonly jwt: readonly IssuerConfig[]
    readonly certificate: CertificateConfig | null
  }
  readonly limits: readonly LimitConfig[]
  /** `memory`, a redis:// or rediss:// URL, which may hold a password, or more than a URL says. */
  readonly limitStore: string | RedisPlace
  readonly sidecars: number
  readonly prices: PricesConfig
  readonly defaults: {
    readonly decision: 'allow' | 'deny'
    readonly onError: 'allow' | 'deny'
    readonly unknownOperation: 'allow' | 'deny'
    readonly uninspectable: 'allow' | 'deny'
    readonly mode: Mode
  }
  /** Names that described calls may have beside the usual ones. */
  readonly operations: readonly OwnOperation[]
  /** alias → model name, as written. */
  readonly aliases: Readonly<Record<string, string>>
  /** Whether policies on input also see letters that look like Latin ones as those. */
  readonly lookAlikes: 'keep' | 'latin'
  readonly policies: readonly PolicyConfig[]
  readonly exceptions: readonly ExceptionConfig[]
  /** What `candidate` names, which has none itself; null without one. Its policies decide nothing. */
  readonly candidate: Snapshot | null
  readonly detectors: readonly DetectorConfig[]
  readonly ownership: OwnershipConfig
  /** Run by `governor test` only. */
  readonly tests: readonly TestConfig[]
  readonly audit: {
    /** Absolute path. */
    readonly path: string
    /** False: calls go on without a record while the log does not take entries. */
    readonly required: boolean
    readonly ack: 'disk' | 'postgres'
    readonly localBytesMax: number
    readonly content: 'none' | 'commitment' | 'full'
    /** What `audit prune` keeps; null keeps everything. */
    readonly retentionMs: number | null
    /** Where signed checkpoints are published; `file` is absolute. */
    readonly checkpoints: { readonly file: string | null; readonly url: string | null }
    /** Where the root over all writers is published, and the keys that may sign it; paths are absolute. */
    readonly root: {
      readonly file: string | null
      readonly url: string | null
      readonly keys: string | null
    }
    readonly ship: ShipConfig | null
  }
  readonly maximums: {
    readonly bodyBytes: number
    readonly decodedBytes: number
    /** A form with files, which is kept on disk where it is large, and all of those together. */
    readonly uploadBytes: number
    readonly spooledBytes: number
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

/** Where something listens; port 0 is any free one. */
export interface Address {
  readonly host: string
  readonly port: number
}
