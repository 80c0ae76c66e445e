import type { Kind } from './chain.ts'

/** Bodies of the entries a writer makes about itself and about calls that ended without a word. */

/** One entry of a chain, as another entry refers to it. */
export interface Head {
  /** Hex, 32 digits. */
  readonly writer_id: string
  readonly epoch: number
  readonly seq: number
  /** Hex, 64 digits. */
  readonly hash: string
}

/** What `writer.open` says. */
export interface WriterOpen {
  readonly writer_id: string
  readonly epoch: number
  readonly pid: number
  readonly version: string
  readonly role: Role
  /** The entry before this one in the file, whoever wrote it; null in an empty file. */
  readonly previous: Head | null
  /** Last acknowledged entry of this writer's former epoch; null for a new writer. */
  readonly continues: Head | null
  /** Ends, as found, of the chains whose writers died and whose calls are closed by this one. */
  readonly recovers: readonly Head[]
}

/** `run` is the sidecar; `command` is a command that changes something. */
export type Role = 'run' | 'command'

/** How a call ended that nobody could report on. */
export type LostEnding = 'interrupted' | 'not_forwarded'

/** JSON of the first entry of a chain. */
export function writerOpenBody(open: WriterOpen, occurredAtUs: number): string {
  return JSON.stringify({ kind: 'writer.open', time: timeOf(occurredAtUs), ...open })
}

/** JSON of an entry that says only that the writer lives (`heartbeat`) or ends (`writer.close`). */
export function plainBody(kind: Kind, occurredAtUs: number): string {
  return JSON.stringify({ kind, time: timeOf(occurredAtUs) })
}

/** JSON of the outcome of a call that a crash interrupted, or whose decision landed too late. */
export function lostOutcomeBody(
  requestId: string,
  occurredAtUs: number,
  outcome: LostEnding,
): string {
  return JSON.stringify({
    kind: 'outcome',
    time: timeOf(occurredAtUs),
    request_id: requestId,
    outcome,
  })
}

function timeOf(occurredAtUs: number): string {
  return new Date(occurredAtUs / 1000).toISOString()
}
