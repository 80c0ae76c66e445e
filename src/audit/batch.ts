import { KINDS } from './chain.ts'
import type { Kind } from './chain.ts'
import type { NewEntry } from './writer.ts'

/**
 * The memory through which batches reach the worker thread. Nothing is cloned or allocated for an
 * entry: its bytes are written once here and hashed and bound from here. The worker sleeps on
 * `control[STATE]` instead of on its event loop, which costs one futex and no loop turn.
 */

/** Entries in one batch, and so in one commit. */
export const BATCH_ENTRIES_MAX = 1_024
const BATCH_BYTES = 1024 * 1024
/** The longest body, in UTF-16 units: three bytes each at worst, with its request id, fill a batch. */
export const BODY_CHARS_MAX = 300_000
/** The longest request id, in UTF-16 units. */
export const REQUEST_ID_CHARS_MAX = 128

/** Slots of `control`. */
export const STATE = 0
export const COUNT = 1
export const HEALTHY = 2
/** Batches that ended, modulo 2^32. */
export const ENDED = 3
/** 1 when the batch that ended last failed; a message says why. */
export const FAILED = 4

/** Values of `control[STATE]`. */
export const IDLE = 0
export const BATCH = 1
export const CLOSE = 2

/** Slots of `figures`. */
export const FILE_BYTES = 0
export const COMMIT_MS = 1
/** Where this writer's chain is durable up to. */
export const DURABLE_EPOCH = 2
export const DURABLE_SEQ = 3

const FIELDS = 5

/** Views on the memory both threads hold. */
export interface Shared {
  readonly control: Int32Array<SharedArrayBuffer>
  readonly figures: Float64Array<SharedArrayBuffer>
  readonly fields: Float64Array<SharedArrayBuffer>
  readonly bytes: Buffer<SharedArrayBuffer>
}

/** What is handed to the worker; `shareMemory` makes the views on either side. */
export interface SharedMemory {
  readonly control: SharedArrayBuffer
  readonly figures: SharedArrayBuffer
  readonly fields: SharedArrayBuffer
  readonly bytes: SharedArrayBuffer
}

/** Memory for one batch at a time, in which nothing was written yet. */
export function newMemory(): SharedMemory {
  return {
    control: new SharedArrayBuffer(20),
    figures: new SharedArrayBuffer(32),
    fields: new SharedArrayBuffer(BATCH_ENTRIES_MAX * FIELDS * 8),
    bytes: new SharedArrayBuffer(BATCH_BYTES),
  }
}

/** Views on `memory`: each thread makes its own. */
export function shareMemory(memory: SharedMemory): Shared {
  return {
    control: new Int32Array(memory.control),
    figures: new Float64Array(memory.figures),
    fields: new Float64Array(memory.fields),
    bytes: Buffer.from(memory.bytes),
  }
}

/** An entry as the main thread holds it. */
export interface TextEntry {
  readonly kind: Kind
  readonly requestId: string
  readonly occurredAtUs: number
  readonly awaitsOutcome: boolean
  readonly body: string
  /** Personal values for the table beside the entries; see `Committed.side`. */
  readonly side?: string
  /** Its call went on without waiting any longer, and now it is durable after all. */
  readonly onLate?: () => void
}

/** UTF-16 units an entry takes, personal values included. */
export function charsOf({ body, side }: TextEntry): number {
  return side === undefined ? body.length : body.length + side.length
}

/** Writes entry number `index` at byte `at`; returns where the next begins, -1 when it is full. */
export function putEntry(shared: Shared, index: number, at: number, entry: TextEntry): number {
  const { requestId, body, side = '' } = entry
  if (index >= BATCH_ENTRIES_MAX) return -1
  if ((requestId.length + body.length + side.length) * 3 > BATCH_BYTES - at) return -1
  const idBytes = shared.bytes.write(requestId, at)
  const bodyBytes = shared.bytes.write(body, at + idBytes)
  const field = index * FIELDS
  shared.fields[field] = entry.occurredAtUs
  shared.fields[field + 1] = KINDS.indexOf(entry.kind) * 2 + (entry.awaitsOutcome ? 1 : 0)
  shared.fields[field + 2] = idBytes
  shared.fields[field + 3] = bodyBytes
  const sideBytes = side === '' ? 0 : shared.bytes.write(side, at + idBytes + bodyBytes)
  shared.fields[field + 4] = sideBytes
  return at + idBytes + bodyBytes + sideBytes
}

/** Reads a batch of `count` entries; the bodies are views that hold until it is acknowledged. */
export function takeEntries(shared: Shared, count: number): NewEntry[] {
  const { fields, bytes } = shared
  const entries: NewEntry[] = []
  let at = 0
  for (let field = 0; field < count * FIELDS; field += FIELDS) {
    const flags = fields[field + 1] ?? 0
    const bodyAt = at + (fields[field + 2] ?? 0)
    const sideAt = bodyAt + (fields[field + 3] ?? 0)
    const end = sideAt + (fields[field + 4] ?? 0)
    entries.push({
      kind: KINDS[flags >> 1] ?? 'admin',
      requestId: bytes.toString('utf8', at, bodyAt),
      occurredAtUs: fields[field] ?? 0,
      awaits: (flags & 1) === 1,
      body: bytes.subarray(bodyAt, sideAt),
      ...(end > sideAt && { side: bytes.toString('utf8', sideAt, end) }),
    })
    at = end
  }
  return entries
}
