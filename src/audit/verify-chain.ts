import { chainHasher, NO_HASH } from './chain.ts'
import type { Head } from './writer-body.ts'

/** A row of `entries`, as verification reads it. */
export interface EntryRow {
  readonly id: number
  readonly chain: number
  readonly seq: number
  readonly occurred_at: number
  readonly kind: string
  readonly request_id: string
  readonly awaits: number
  readonly hash: Buffer
  readonly body: Buffer
}

/** The part of a body that columns repeat, and what `writer.open` refers to. */
export interface ParsedBody {
  readonly kind?: unknown
  readonly request_id?: unknown
  readonly forward?: unknown
  readonly writer_id?: unknown
  readonly epoch?: unknown
  readonly previous?: unknown
  readonly continues?: unknown
  readonly recovers?: unknown
}

const ALTERED = 'Its hash does not match: it, its time or the entry before it was altered'

/** One writer's chain in one file while it is walked. */
export class ChainState {
  readonly file: string
  readonly writer: string
  readonly epoch: number
  readonly #hash: ReturnType<typeof chainHasher>
  seq = 0
  last: Uint8Array = NO_HASH
  /** Ended by `writer.close`. */
  closed = false
  /** Its end is named by a later entry of another chain. */
  attested = false
  /** A later sidecar closed the calls it left open. */
  recovered = false
  /** The last acknowledged entry, when the writer went on in another file. */
  cut: Head | null = null
  /** Entries after `cut`: the last batch, which was perhaps written and never acknowledged. */
  unacknowledged = 0
  readonly #tail = { seq: 0, hash: new Uint8Array() as Uint8Array }

  constructor(file: string, writerId: Buffer, epoch: number) {
    this.file = file
    this.writer = writerId.toString('hex')
    this.epoch = epoch
    this.#hash = chainHasher(writerId, epoch)
  }

  /** Takes the next row of this chain; says what does not hold of it. */
  take(row: EntryRow, body: ParsedBody | null): string[] {
    const problems: string[] = []
    const want = this.seq + 1
    if (this.closed) problems.push('It follows the end of its chain')
    if (row.seq === want) problems.push(...this.#link(row))
    else if (row.seq > want) problems.push(`Missing before it: ${range(want, row.seq - 1)}`)
    else problems.push(`It is a repeated or misplaced entry: ${want} was expected`)
    problems.push(...this.#columns(row, body))
    this.seq = Math.max(row.seq, this.seq)
    this.last = row.hash
    this.closed ||= row.kind === 'writer.close'
    // A chain that was closed, or attested, and then goes on has another end.
    this.attested = false
    return problems
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
    const place = { seq: row.seq, occurredAtUs: row.occurred_at, prevHash: this.#tail.hash }
    const problems = this.#hash(place, row.body).equals(row.hash) ? [] : [ALTERED]
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

  #link(row: EntryRow): string[] {
    const place = { seq: row.seq, occurredAtUs: row.occurred_at, prevHash: this.last }
    if (this.#hash(place, row.body).equals(row.hash)) return []
    return [ALTERED]
  }

  #columns(row: EntryRow, body: ParsedBody | null): string[] {
    if (body === null) return ['Its body is not a JSON object']
    const problems: string[] = []
    if (body.kind !== row.kind) problems.push('Its kind differs from its body')
    if ((body.request_id ?? '') !== row.request_id) {
      problems.push('Its request id differs from its body')
    }
    if ((body.forward === true) !== (row.awaits === 1)) {
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
