import { chainHasher, NO_HASH } from './chain.ts'
import { originOf } from './note.ts'
import type { Retention } from './retention.ts'
import type { EntryRow } from './rows.ts'
import { type Evidence, TreeCheck } from './verify-tree.ts'
import type { Head } from './writer-body.ts'

/** The part of a body that columns repeat, and what `writer.open` refers to. */
export interface ParsedBody {
  readonly kind?: unknown
  readonly request_id?: unknown
  readonly forward?: unknown
  readonly writer_id?: unknown
  readonly role?: unknown
  readonly epoch?: unknown
  readonly previous?: unknown
  readonly continues?: unknown
  readonly recovers?: unknown
  /** Commitments to personal values, by name. */
  readonly personal?: unknown
  /** Of a checkpoint. */
  readonly size?: unknown
  readonly last?: unknown
  readonly range?: unknown
  readonly note?: unknown
}

const ALTERED = 'Its hash does not match: it, its time or the entry before it was altered'

/** One writer's chain in one file while it is walked. */
export class ChainState {
  readonly file: string
  readonly writer: string
  readonly epoch: number
  readonly tree: TreeCheck
  readonly #hash: ReturnType<typeof chainHasher>
  seq = 0
  last: Uint8Array = NO_HASH
  /** Microseconds since 1970 at which it was opened. */
  openedAtUs = 0
  /** Ended by `writer.close`. */
  closed = false
  /** Place of `writer.close`; only the checkpoint that covers it may follow. */
  closedSeq = 0
  /** Up to here entries may be gone, except the first and checkpoints: `retention` says so. */
  prunedTo = 0
  /** Entries that are gone by what `retention` says; up to here. */
  skippedTo = 0
  /** Entries up to there that are not gone: whoever pruned was stopped, or they were put there since. */
  leftover = 0
  #left = { seq: 0, hash: NO_HASH as Uint8Array }
  /** Its end is named by a later entry of another chain. */
  attested = false
  /** A later sidecar closed the calls it left open. */
  recovered = false
  /** The last acknowledged entry, when the writer went on in another file. */
  cut: Head | null = null
  /** Entries after `cut`: the last batch, which was perhaps written and never acknowledged. */
  unacknowledged = 0
  readonly #tail = { seq: 0, hash: new Uint8Array() as Uint8Array }

  constructor(file: string, writerId: Buffer, epoch: number, evidence: Evidence) {
    this.file = file
    this.writer = writerId.toString('hex')
    this.epoch = epoch
    this.tree = new TreeCheck(this.writer, epoch, evidence)
    this.#hash = chainHasher(writerId, epoch)
  }

  /** Takes the next row of this chain; says what does not hold of it. */
  take(row: EntryRow, body: ParsedBody | null): string[] {
    const problems: string[] = []
    if (this.#isLeftover(row)) return this.#takeLeftover(row, body)
    if (this.closed && (row.kind !== 'checkpoint' || row.seq !== this.closedSeq + 1)) {
      problems.push('It follows the end of its chain')
    }
    const misplaced = this.#place(row, body)
    this.tree.broken ||= misplaced.length > 0
    problems.push(...misplaced)
    problems.push(...this.#columns(row, body))
    if (row.kind === 'checkpoint' && body !== null) {
      problems.push(...this.tree.checkpoint(row, body))
    }
    problems.push(...this.tree.add(row.hash))
    if (row.seq === 1) this.openedAtUs = row.occurred_at
    this.seq = Math.max(row.seq, this.seq)
    this.last = row.hash
    if (row.kind === 'writer.close') {
      this.closed = true
      this.closedSeq = row.seq
    }
    // A chain that was attested and then goes on has another end.
    this.attested = false
    return problems
  }

  /** Whether a checkpoint with a good signature covers `writer.close`. */
  get isCloseSigned(): boolean {
    return this.closed && this.tree.signedSize >= this.closedSeq
  }

  /**
   * One that may be gone, where others before it are: whoever pruned was stopped in the middle. The next
   * checkpoint says where the chain goes on.
   */
  #isLeftover({ seq, kind }: EntryRow): boolean {
    const isBehindGap = this.seq > 0 && seq > this.seq + 1
    return isBehindGap && seq <= this.prunedTo && kind !== 'checkpoint'
  }

  /** The entry before the first of them is gone; each other one follows the one before it. */
  #takeLeftover(row: EntryRow, body: ParsedBody | null): string[] {
    const { seq, hash } = this.#left
    this.leftover++
    this.#left = { seq: row.seq, hash: row.hash }
    const problems = this.#columns(row, body)
    if (row.seq === seq + 1) problems.push(...this.#link(row, hash))
    else if (row.seq <= seq) problems.push('It is a repeated or misplaced entry')
    return problems
  }

  #place(row: EntryRow, body: ParsedBody | null): string[] {
    const want = this.seq + 1
    if (row.seq === want) return this.#link(row, this.last)
    if (row.seq < want) return [`It is a repeated or misplaced entry: ${want} was expected`]
    // The first entry is never pruned: it says whose chain this is.
    const isPruned = row.kind === 'checkpoint' && row.seq - 1 <= this.prunedTo && want > 1
    if (!isPruned || body === null) return [`Missing before it: ${range(want, row.seq - 1)}`]
    const subtrees = this.tree.rangeTo(row.seq - 1, body)
    if (subtrees === null || typeof body.last !== 'string') {
      return ['Its checkpoint does not continue the checkpoint before it']
    }
    this.skippedTo = row.seq - 1
    const { seq, hash } = this.#left
    if (seq === row.seq - 1 && Buffer.from(hash).toString('hex') !== body.last) {
      return ['What was left of the entries before it is not what its checkpoint covers']
    }
    return [...this.#link(row, Buffer.from(body.last, 'hex')), ...this.tree.skip(subtrees)]
  }

  /**
   * Takes the next row after `cut`. It counts as never written, but it was: by this writer, in this
   * order, or not at all.
   */
  takeUnacknowledged(row: EntryRow): string[] {
    if (this.unacknowledged++ === 0) {
      this.#tail.seq = this.seq
      this.#tail.hash = this.last
    }
    const want = this.#tail.seq + 1
    const where = { seq: row.seq, occurredAtUs: row.occurred_at, prevHash: this.#tail.hash }
    const problems = this.#hash(where, row.body).equals(row.hash) ? [] : [ALTERED]
    if (row.seq !== want) problems.push(`It is not the next one: ${want} was expected`)
    if (row.kind === 'writer.close') {
      problems.push('It ends its chain, and a later file says that the chain went on there')
    }
    this.#tail.seq = row.seq
    this.#tail.hash = row.hash
    return problems
  }

  /** Whether `head` is where this chain stands now. */
  standsAt(head: Head): boolean {
    return head.seq === this.seq && head.hash === Buffer.from(this.last).toString('hex')
  }

  #link(row: EntryRow, prevHash: Uint8Array): string[] {
    if (prevHash.length !== 32) return [ALTERED]
    const where = { seq: row.seq, occurredAtUs: row.occurred_at, prevHash }
    if (this.#hash(where, row.body).equals(row.hash)) return []
    return [ALTERED]
  }

  #columns(row: EntryRow, body: ParsedBody | null): string[] {
    if (body === null) return ['Its body is not a JSON object']
    const problems: string[] = []
    if (body.kind !== row.kind) problems.push('Its kind differs from its body')
    if ((body.request_id ?? '') !== row.request_id) {
      problems.push('Its request id differs from its body')
    }
    if (Number(body.forward === true) !== row.awaits) {
      problems.push('Whether it awaits an outcome differs from its body')
    }
    if ((row.seq === 1) !== (row.kind === 'writer.open')) {
      problems.push('A chain begins with writer.open, and nowhere else')
    }
    if (row.kind === 'writer.open') {
      if (body.writer_id !== this.writer || body.epoch !== this.epoch) {
        problems.push('It opens the chain of another writer or epoch')
      }
    }
    return problems
  }
}

/** An entry `retention`, and where it stands. */
export interface Allowed {
  readonly chain: ChainState
  readonly seq: number
  readonly pruned: readonly Retention[]
}

/** Those of these trees of which no chain is here: taken away, or another log's. */
export function absentOrigins(origins: Iterable<string>, chains: Iterable<ChainState>): string[] {
  const here = new Set([...chains].map(({ writer, epoch }) => originOf(writer, epoch)))
  return [...origins].filter((origin) => !here.has(origin))
}

/** Chains with a gap that no entry `retention` under a signed checkpoint allows. */
export function unsignedGaps(
  all: readonly Allowed[],
  chains: ReadonlyMap<string, ChainState>,
): ChainState[] {
  const signed = new Map<string, number>()
  for (const { chain, seq, pruned } of all) {
    if (seq > chain.tree.signedSize) continue
    for (const { writer_id, epoch, to } of pruned) {
      const key = keyOf(writer_id, epoch)
      signed.set(key, Math.max(to, signed.get(key) ?? 0))
    }
  }
  return [...chains]
    .filter(([key, { skippedTo }]) => skippedTo > (signed.get(key) ?? 0))
    .map(([, chain]) => chain)
}

function range(from: number, to: number): string {
  return from === to ? `entry ${from}` : `entries ${from} to ${to}`
}

/** Reads a body as far as verification needs it; null when it is no JSON object. */
export function parseBody(bytes: Buffer): ParsedBody | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/** Whether a member of `writer.open` names an entry. */
export function isHead(value: unknown): value is Head {
  if (typeof value !== 'object' || value === null) return false
  const head = value as Partial<Record<keyof Head, unknown>>
  return (
    typeof head.writer_id === 'string' &&
    typeof head.epoch === 'number' &&
    typeof head.seq === 'number' &&
    typeof head.hash === 'string'
  )
}

/** What verification knows a chain by. */
export function keyOf(writer: string, epoch: number): string {
  return `${writer}:${epoch}`
}

/** Where a chain stands, for a finding. */
export function place(chain: ChainState): { file: string; writer: string; seq: number } {
  return { file: chain.file, writer: chain.writer, seq: chain.seq }
}

/** Up to where the end of a chain is attested, in words. */
export function upTo({ tree }: ChainState): string {
  const attested = Math.max(tree.signedSize, tree.publishedSize)
  return attested === 0 ? '' : `: what follows entry ${attested} is covered by no checkpoint`
}

/** What is said of a chain with entries that may be gone and are there. */
export function leftoverNote({ leftover, skippedTo }: ChainState): string {
  const some = leftover === 1 ? 'One entry' : `${leftover} entries`
  return (
    `${some} of those up to ${skippedTo} that were pruned can be read and are proven by nothing: ` +
    'whoever pruned was stopped, or they are forged. Run governor audit prune again'
  )
}

/** Whether `head` is where this chain stands now, or was cut. */
export function isAt(chain: ChainState | null, head: Head): boolean {
  if (chain === null) return false
  if (keyOf(chain.writer, chain.epoch) !== keyOf(head.writer_id, head.epoch)) return false
  // What was never acknowledged is not walked; it may still have been the last row of the file.
  return chain.standsAt(head) || (chain.cut !== null && head.seq > chain.cut.seq)
}
