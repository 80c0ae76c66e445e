/** What the command line hands to commands of the audit. */

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
  json: boolean
}

/** `governor audit verify`. */
export interface VerifyGiven {
  config: string
  strict: boolean
  json: boolean
  keys?: string
  checkpoints?: string
  bundle?: string
  /** True is the database of `audit.ship`. */
  url?: string | true
}
