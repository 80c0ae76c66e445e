/** The part of the snapshot about who owns what providers keep. */

/** Bounds of a store; what is unknown to it in a body is content nobody can read, or refused. */
interface StoreConfig {
  readonly recordsMax: number
  readonly expiresMs: number
  readonly unknown: 'uninspectable' | 'refuse'
}

/** How things of one tenant are kept from others. `isChosen`: the file says `off` in so many words. */
export type OwnershipConfig =
  | { readonly store: 'off'; readonly isChosen: boolean }
  /** `path` is absolute. */
  | ({ readonly store: 'embedded'; readonly path: string } & StoreConfig)
  /** `url` holds a password. */
  | ({ readonly store: 'postgres'; readonly url: string } & StoreConfig)
