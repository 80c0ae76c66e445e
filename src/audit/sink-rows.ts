import type { ShipRow } from './ship-types.ts'

/** What a body says, in the columns that questions are asked by; null where it says nothing. */
export interface RowColumns {
  readonly tenant: string | null
  readonly key_id: string | null
  readonly key_name: string | null
  readonly operation: string | null
  readonly model: string | null
  readonly decision: string | null
  readonly policy: string | null
  readonly code: string | null
}

/** An entry that can be asked about, or why it can only be kept as bytes. */
export type ReadRow =
  | { readonly columns: RowColumns; readonly reason: null }
  | { readonly columns: null; readonly reason: string }

/** Long enough for every name Governor writes; more would not fit into an index. */
const COLUMN_CHARS_MAX = 256
const HASH_BYTES = 32
/** PostgreSQL's jsonb gives up somewhere above six thousand. */
const DEPTH_MAX = 200

/**
 * Reads a body as PostgreSQL would have to. Its text and jsonb take neither NUL nor a lone surrogate,
 * nor numbers beyond any range; one such entry would stop every question about the others.
 */
export function readRow(row: Pick<ShipRow, 'kind' | 'requestId' | 'hash' | 'body'>): ReadRow {
  const { kind, requestId, hash, body } = row
  // Hashes cross as one long value.
  if (hash.length !== HASH_BYTES) return dead('its hash has another length')
  if (kind.includes('\0') || requestId.includes('\0')) return dead('its columns hold NUL')
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return dead('its body is not JSON in UTF-8')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return dead('its body is not a JSON object')
  }
  const reason = fault(value, 0)
  if (reason !== null) return dead(reason)
  return { columns: columnsOf(value as Readonly<Record<string, unknown>>), reason: null }
}

function dead(reason: string): ReadRow {
  return { columns: null, reason }
}

function fault(value: unknown, depth: number): string | null {
  if (depth > DEPTH_MAX) return 'its body is nested too deeply'
  if (typeof value === 'number') return Number.isFinite(value) ? null : 'a number is too large'
  if (typeof value === 'string') return textFault(value)
  if (typeof value !== 'object' || value === null) return null
  for (const [name, inner] of Object.entries(value)) {
    const found = textFault(name) ?? fault(inner, depth + 1)
    if (found !== null) return found
  }
  return null
}

function textFault(text: string): string | null {
  if (text.includes('\0')) return 'its body holds NUL'
  return text.isWellFormed() ? null : 'its body holds half a surrogate pair'
}

function columnsOf(body: Readonly<Record<string, unknown>>): RowColumns {
  return {
    tenant: named(body['tenant']),
    key_id: named(body['key_id']),
    key_name: named(body['key_name']),
    operation: named(body['operation']),
    model: named(body['gen_ai.request.model']),
    decision: named(body['decision']),
    policy: named(body['policy']),
    code: named(body['code']),
  }
}

function named(value: unknown): string | null {
  return typeof value === 'string' ? value.slice(0, COLUMN_CHARS_MAX).toWellFormed() : null
}
