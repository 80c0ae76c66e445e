/** What the command line hands to commands of the audit. */

/** `governor audit tail`. */
export interface TailGiven {
  config: string
  lines: number
  follow: boolean
  content: boolean
  /** True is the database of `audit.ship`. */
  url?: string | true
  json: boolean
}

/** `governor audit query`. */
export interface QueryGiven {
  config: string
  /** True is the database of `audit.ship`. */
  url?: string | true
  tenant?: string
  key?: string
  model?: string
  decision?: string
  policy?: string
  since?: number
  limit: number
  content: boolean
  json: boolean
}

/** `governor audit verify`. */
export interface VerifyGiven {
  config: string
  strict: boolean
  json: boolean
  keys?: string
  checkpoints?: string
  /** True is that of `audit.root`. */
  root?: string | true
  bundle?: string
  /** True is the database of `audit.ship`. */
  url?: string | true
}

/** `governor audit erase`. */
export interface EraseGiven {
  config: string
  subject?: string
  request?: string
  /** True is the database of `audit.ship`. */
  url?: string | true
}

/** `governor audit prune`. */
export interface PruneGiven {
  config: string
  olderThan?: number
  /** True is the database of `audit.ship`. */
  url?: string | true
}
