import type { Facts, Usage } from '../exchange.ts'

/** The nouns of what a provider keeps. Plain data, no sockets. */

/** An id that a body names, of something the provider keeps. */
export interface Reference {
  readonly id: string
  /** JSON pointer of the string that holds it. */
  readonly pointer: string
}

/** What a body says about what is kept. */
export interface References {
  readonly named: readonly Reference[]
  /** Ids of items that are handed back whole: some providers take what they have kept under them instead. */
  readonly carried: readonly Reference[]
  /** Pointer of a source that is all that anybody keeps there; null where there is none. */
  readonly everybody: string | null
  /** Whether the answer is to be kept; null where nothing is said. */
  readonly stores: boolean | null
  /** The answer is spoken, and what was spoken can be named again. */
  readonly speaks: boolean
  /** The answer is made while nobody waits for it. */
  readonly isBackground: boolean
  /** Pointers of values that hold more than ids and words about them. */
  readonly mixed: ReadonlySet<string>
}

/** What ownership found out about a call. */
export interface OwnedCall {
  /** Request id of the call that created what the path names; null where it names nothing. */
  readonly origin: string | null
  /** What the path names brings its result later, and it is not charged yet. */
  readonly isAwaited: boolean
  readonly references: References
  /** The call has an idempotency key: its answer may be one that somebody else had before. */
  readonly mayRepeat: boolean
  /** Adds up what the file that passes says was used; null where nothing does. */
  later: { readonly usage: Usage | null } | null
  /** The same facts without what the caller's own tenant created here. */
  lift(facts: Facts): Facts
}
