import type { FleetRoot } from './fleet-root.ts'

/** Something that does not hold or is worth knowing, and where. */
export interface Finding {
  readonly file: string
  /** Hex; '' when it is about a whole file. */
  readonly writer: string
  /** 0 when it is about a whole chain or file. */
  readonly seq: number
  readonly what: string
}

/** What an offline verification found. */
export interface VerifyResult {
  /** 0 it holds · 1 tampered or missing · 2 not enough evidence. */
  readonly exitCode: 0 | 1 | 2
  readonly files: readonly string[]
  /** Chains: one for each process and file it wrote to. */
  readonly chains: number
  readonly entries: number
  /** Entries after the last acknowledged one of an ended file; they count as never written. */
  readonly unacknowledged: number
  /** Decisions without an outcome yet, in chains that are not closed. */
  readonly openCalls: number
  /** Entries that a checkpoint with a good signature covers. */
  readonly signed: number
  /** The first hundred. */
  readonly problems: readonly Finding[]
  readonly problemsTotal: number
  /** The first hundred. */
  readonly notes: readonly Finding[]
}

/** How a log is verified. */
export interface VerifyOptions {
  /** An end that nothing attests is not enough evidence. */
  readonly strict: boolean
  /** Public keys; the list beside the log when absent. A verifier who trusts nobody has a copy. */
  readonly keys?: string | null
  /** Checkpoints that were published elsewhere. */
  readonly published?: string | null
  /** A root over all writers that was published: a file, or what was read and is signed by a known key. */
  readonly root?: string | FleetRoot | null
  /** It was put back from a bundle, which leaves personal values out. */
  readonly isBundle?: boolean
  /** Told of entries as they are read. */
  readonly onRows?: (rows: number) => void
}
