import Database from 'better-sqlite3'

import type { TextEntry } from '../../../src/audit/batch.ts'
import { Wal } from '../../../src/audit/wal.ts'
import type { WalOptions } from '../../../src/audit/wal.ts'

/** Opens a log as the sidecar would, with room and time for everything. */
export function openWal(path: string, options: Partial<WalOptions> = {}): Promise<Wal> {
  return Wal.open({
    path,
    localBytesMax: 2 ** 30,
    commitMs: 60_000,
    version: 'test',
    exclusive: true,
    ...options,
  })
}

export const AT_US = 1_790_000_000_000_000

/** A decision whose call is forwarded. */
export function decision(requestId: string, pad = ''): TextEntry {
  const body = { kind: 'decision', request_id: requestId, decision: 'allow', forward: true, pad }
  return entry('decision', requestId, body, true)
}

/** A decision that refuses. */
export function refusal(requestId: string): TextEntry {
  return entry('decision', requestId, {
    kind: 'decision',
    request_id: requestId,
    decision: 'deny',
    status: 403,
    code: 'POLICY_DENIED',
  })
}

export function outcome(requestId: string): TextEntry {
  return entry('outcome', requestId, {
    kind: 'outcome',
    request_id: requestId,
    outcome: 'complete',
  })
}

function entry(
  kind: TextEntry['kind'],
  requestId: string,
  body: object,
  awaitsOutcome = false,
): TextEntry {
  return { kind, requestId, occurredAtUs: AT_US, awaitsOutcome, body: JSON.stringify(body) }
}

export interface Row {
  readonly chain: number
  readonly seq: number
  readonly kind: string
  readonly request_id: string
  readonly body: Record<string, unknown>
}

/** Everything in one file, in the order it was appended. */
export function rows(path: string): Row[] {
  const db = new Database(path, { readonly: true })
  const found = db
    .prepare<[], Omit<Row, 'body'> & { body: Buffer }>(
      'SELECT chain, seq, kind, request_id, body FROM entries ORDER BY id',
    )
    .all()
  db.close()
  return found.map((row) => ({ ...row, body: JSON.parse(row.body.toString()) }))
}

/** `kind` or `kind request_id`, one for each entry. */
export function story(path: string): string[] {
  return rows(path).map(({ kind, request_id }) => `${kind} ${request_id}`.trim())
}
