/** The part of the snapshot about who may call. */

/** Who a caller without a credential is. */
export interface PodConfig {
  readonly tenant: string
  readonly user: string
  readonly roles: readonly string[]
  readonly labels: Readonly<Record<string, string>>
}

/** A file that was read, with its path. */
export interface PemFile {
  readonly file: string
  readonly pem: string
}

/** TLS of the proxy listener; `key.pem` is a secret. */
export interface TlsConfig {
  readonly cert: PemFile
  readonly key: PemFile
  /** Whose certificates clients are asked for; null where they are asked for none. */
  readonly clientCa: PemFile | null
  readonly clientAuth: 'required' | 'optional'
}

/** A part of a certificate that can name somebody. */
export type CertificateSource =
  | 'subject.CN'
  | 'subject.O'
  | 'subject.OU'
  | 'san.uri'
  | 'san.dns'
  | 'san.email'

/** Who a caller with a client certificate is. */
export interface CertificateConfig {
  readonly tenant: { readonly fixed: string } | { readonly from: CertificateSource }
  readonly userFrom: CertificateSource
  readonly roles: readonly string[]
  readonly labels: Readonly<Record<string, string>>
}

/** Whose tokens are accepted, and who their bearers are. */
export interface IssuerConfig {
  /** Unique id. */
  readonly name: string
  /** `iss`, compared character by character. */
  readonly issuer: string
  readonly audience: readonly string[]
  /** Pinned; names of RFC 7518 §3.1 and RFC 8037, of public keys only. */
  readonly algorithms: readonly string[]
  readonly clockSkewMs: number
  readonly keys: IssuerKeysConfig
  readonly claims: ClaimsConfig
}

/** Where an issuer's keys come from; one of `jwks` and `discovery` is null. */
export interface IssuerKeysConfig {
  readonly issuer: string
  readonly jwks: string | null
  readonly discovery: string | null
  /** Trusted instead of the usual ones, PEM; null is the usual ones. */
  readonly ca: PemFile | null
  /** Absolute path; read for every fetch. */
  readonly credentialFile: string | null
  readonly timeoutMs: number
  readonly refreshMs: number
  /** The least time between two fetches. */
  readonly refetchMs: number
  readonly maxStaleMs: number
}

/** Who the bearer of a token is. A claim is a name, or a JSON pointer (RFC 6901) from a `/` on. */
export interface ClaimsConfig {
  readonly tenant: { readonly fixed: string } | { readonly claim: string }
  readonly user: string
  readonly roles: { readonly fixed: readonly string[]; readonly claim: string | null }
  readonly labels: {
    readonly fixed: Readonly<Record<string, string>>
    /** Label → claim. */
    readonly claims: Readonly<Record<string, string>>
  }
}

/** Where Governor keys are kept. */
export interface KeysConfig {
  readonly store: 'sqlite' | 'postgres' | 'file'
  /** Absolute; of the database, of the YAML, or of the copy of what is elsewhere. */
  readonly path: string
  readonly bcryptCost: number
  /** With that store only. */
  readonly postgres?: PostgresKeysConfig
}

/** How keys in PostgreSQL are reached; the URLs are secrets, '' where it is not set yet. */
export interface PostgresKeysConfig {
  readonly url: string
  /** Of the server itself, where changes are told; null: they are asked for. */
  readonly directUrl: string | null
  readonly maxStaleMs: number
}
