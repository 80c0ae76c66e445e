/** What shipping reads and where it puts it; every sink keeps the one interface at the end. */

/** One chain: a writer's part in one file. */
export interface ChainId {
  /** 16 bytes. */
  readonly writerId: Buffer
  readonly epoch: number
}

/** The last entry of a chain that somebody has. */
export interface ChainHead {
  readonly seq: number
  /** 32 bytes. */
  readonly hash: Buffer
}

/** An entry as it is shipped: the very bytes that were hashed. */
export interface ShipRow {
  readonly seq: number
  readonly occurredAtUs: number
  readonly kind: string
  /** '' when it belongs to no call. */
  readonly requestId: string
  readonly awaits: boolean
  readonly hash: Buffer
  readonly body: Buffer
}

/** Entries of one chain without a gap, and the one they follow; `after.seq` is 0 for the first. */
export interface ShipBatch {
  readonly chain: ChainId
  readonly after: ChainHead
  readonly rows: readonly ShipRow[]
}

/** What became of a batch. */
export type Taken =
  /** All of it is kept for good; `dead` of its entries could only be kept as bytes. */
  | { readonly kind: 'taken'; readonly dead: number }
  /** Nothing was: the chain does not stand at `after` there, but here (null: it is unknown there). */
  | { readonly kind: 'elsewhere'; readonly head: ChainHead | null }
  /** An entry there has the place of one of these and another content. */
  | { readonly kind: 'differs' }
  /** An entry can in no way be kept there, now or later. */
  | { readonly kind: 'refused'; readonly why: string }

/**
 * A place entries are copied to. All methods reject with an Error when the place cannot be reached or
 * does not take anything now; nothing is lost by it, the same is tried again.
 */
export interface Sink {
  /** Whether everything is as it must be there, asked after each failure before anything is sent. */
  check(): Promise<void>
  /** Where these chains stand there, in the same order; null for those it does not know. */
  heads(chains: readonly ChainId[]): Promise<(ChainHead | null)[]>
  /** Takes all of a batch or nothing. */
  put(batch: ShipBatch): Promise<Taken>
  close(): Promise<void>
}

/** Names a chain in maps and messages. */
export function chainName({ writerId, epoch }: ChainId): string {
  return `${writerId.toString('hex')}:${epoch}`
}

/** Where a chain stands of which nothing was shipped. */
export const NOTHING_YET: ChainHead = { seq: 0, hash: Buffer.alloc(32) }
