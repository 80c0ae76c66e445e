/** The part of the snapshot about what is called. */
import type { AzureWay } from './resolve-azure-chain.ts'

/** Provider APIs that are spoken. */
export type DialectName = 'openai' | 'anthropic' | 'azure-openai' | 'gemini' | 'bedrock' | 'ollama'

/** One upstream, in the order of the file. */
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
  /** Upgrades to it are sent on unread; absent: sessions are inspected, other upgrades refused. */
  readonly inspect?: 'none'
  /** Certificates to trust, PEM; absent: the usual. `file` is absolute. */
  readonly ca?: { readonly file: string; readonly pem: string }
  /** Connections go through it (CONNECT); absent: straight. `credential` is a secret, `user:password`. */
  readonly proxy?: {
    /** http or https, without a trailing slash. */
    readonly url: string
    readonly credential: string | null
    /** Certificates to trust for an https proxy; absent: the usual. */
    readonly ca?: { readonly file: string; readonly pem: string }
  }
  /** Calls are signed with `credential` as the secret of this access key; absent: it is sent as a key. */
  readonly aws?: {
    readonly region: string
    readonly accessKeyId: string
    readonly sessionToken: string | null
    /** Where they are from when the file does not say them; `accessKeyId` is empty while they are fetched. */
    readonly chain?: AwsChain
  }
  /** A token of Entra ID is sent instead of a key; absent: `credential` is. */
  readonly azure?: {
    /** As written. */
    readonly credentials: AzureWay
    /** What it is for, `https://…/.default`. */
    readonly scope: string
    /** Null where the environment says nothing, and nothing is run. */
    readonly chain: AzureChain | null
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

/** Where AWS credentials come from; `url` is http or https, tokens are secrets, files are paths. */
export type AwsChain =
  | { readonly kind: 'environment' }
  | {
      readonly kind: 'container'
      readonly url: string
      readonly token: string | null
      readonly tokenFile: string | null
    }
  | {
      readonly kind: 'web_identity'
      /** Of the security token service. */
      readonly url: string
      readonly roleArn: string
      readonly sessionName: string
      readonly tokenFile: string
    }
  /** `url` is of the metadata service, without a path. */
  | { readonly kind: 'instance'; readonly url: string }

/** Where tokens of Entra ID come from; secrets and `header` are secrets, files are paths. */
export type AzureChain =
  | {
      readonly kind: 'client_secret'
      /** Of the tenant's tokens. */
      readonly url: string
      readonly clientId: string
      readonly clientSecret: string
    }
  | {
      readonly kind: 'workload_identity'
      readonly url: string
      readonly clientId: string
      readonly tokenFile: string
    }
  | {
      readonly kind: 'app_service'
      readonly url: string
      readonly header: string
      /** Null is the machine's own identity. */
      readonly clientId: string | null
    }
  | { readonly kind: 'instance'; readonly url: string; readonly clientId: string | null }

/** The place of an upstream in its group. */
export interface GroupConfig {
  readonly name: string
  /** Lower goes first. */
  readonly priority: number
  /** Its share among those of one priority. */
  readonly weight: number
}

/** When a call is tried again. */
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

/** When an upstream that fails is left alone. */
export interface BreakerConfig {
  /** In a row, after which it is not called. */
  readonly failures: number
  /** For how long at first. */
  readonly openMs: number
}

/** How many calls an upstream has at once. */
export interface ConcurrencyConfig {
  readonly calls: number
  /** Calls that wait for a place. */
  readonly queue: number
  readonly waitMsMax: number
}
