import type { StoredEntry } from './query.ts'

/** What an entry says, in the terms the formats of log collectors share. */

/** Fields of one entry; null where it says nothing, or not what belongs there. */
export interface ExportFields {
  /** Milliseconds since 1970, whole; null for a time that no calendar has. */
  readonly timeMs: number | null
  /** Names the entry wherever it is kept: `<writer>/<epoch>/<seq>`. */
  readonly id: string
  readonly writer: string
  readonly seq: number
  readonly kind: string
  /** '' when it belongs to no call. */
  readonly requestId: string
  /** What was done: the operation of a call, `keys.create` of a command, else the kind. */
  readonly action: string
  readonly decision: 'allow' | 'deny' | null
  /** A refusal is a failure, and so is every call that did not end `complete`. */
  readonly outcome: 'success' | 'failure' | 'unknown'
  /** How a call ended, in Governor's words. */
  readonly ending: string | null
  readonly status: number | null
  readonly code: string | null
  readonly policy: string | null
  readonly tenant: string | null
  readonly keyId: string | null
  readonly keyName: string | null
  readonly user: string | null
  readonly upstream: string | null
  readonly operation: string | null
  readonly provider: string | null
  readonly model: string | null
  readonly responseModel: string | null
  readonly responseId: string | null
  readonly inputTokens: number | null
  readonly outputTokens: number | null
  readonly durationUs: number | null
  /** Refusals that one entry stands for; 1 for all others. */
  readonly count: number
  /** The body as it was hashed, as text. */
  readonly body: string
}

type Body = Readonly<Record<string, unknown>>

/** Reads an entry. An altered body is `verify`'s business: here it says nothing. */
export function exportFields(entry: StoredEntry): ExportFields {
  const { writer, epoch, seq, kind, requestId, body } = entry
  const said = bodyOf(body)
  const decision = decisionOf(kind, said)
  return {
    timeMs: timeOf(entry.occurredAtUs),
    id: `${writer}/${epoch}/${seq}`,
    writer,
    seq,
    kind,
    requestId,
    action: text(said['action']) ?? text(said['operation']) ?? kind,
    decision,
    outcome: outcomeOf(kind, decision, said),
    ending: text(said['outcome']),
    status: whole(said['status']),
    code: text(said['code']),
    policy: text(said['policy']),
    tenant: text(said['tenant']),
    keyId: text(said['key_id']),
    keyName: text(said['key_name']),
    user: text(said['user']),
    upstream: text(said['upstream']),
    operation: text(said['gen_ai.operation.name']) ?? text(said['operation']),
    provider: text(said['gen_ai.provider.name']),
    model: text(said['gen_ai.request.model']),
    responseModel: text(said['gen_ai.response.model']),
    responseId: text(said['gen_ai.response.id']),
    inputTokens: whole(said['gen_ai.usage.input_tokens']),
    outputTokens: whole(said['gen_ai.usage.output_tokens']),
    durationUs: whole(said['duration_us']),
    count: countOf(said),
    body: body.toWellFormed(),
  }
}

function decisionOf(kind: string, said: Body): ExportFields['decision'] {
  if (kind === 'unauthenticated') return 'deny'
  const decision = kind === 'decision' ? said['decision'] : null
  return decision === 'allow' || decision === 'deny' ? decision : null
}

function outcomeOf(
  kind: string,
  decision: ExportFields['decision'],
  said: Body,
): ExportFields['outcome'] {
  if (decision !== null) return decision === 'allow' ? 'success' : 'failure'
  if (kind === 'outcome') return said['outcome'] === 'complete' ? 'success' : 'failure'
  return kind === 'decision' ? 'unknown' : 'success'
}

/** Refusals without a key are counted by code, those of one key together. */
function countOf(said: Body): number {
  const repeated = whole(said['repeated'])
  if (repeated !== null && repeated > 0) return repeated
  const codes = said['codes']
  if (typeof codes !== 'object' || codes === null) return 1
  const sum = Object.values(codes).reduce((total: number, each) => total + (whole(each) ?? 0), 0)
  return Math.max(1, sum)
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value.toWellFormed() : null
}

/** Counts, states and times: no sign, no fraction, nothing a 64-bit integer would not hold. */
function whole(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null
}

function timeOf(us: number): number | null {
  const ms = Math.floor(us / 1000)
  return Number.isNaN(new Date(ms).getTime()) ? null : ms
}

function bodyOf(body: string): Body {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Body) : {}
  } catch {
    return {}
  }
}
