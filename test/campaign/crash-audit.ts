import type { Entry } from '../support/start-governor.ts'

/** An answer of which a client received at least the head. */
export interface AnswerSeen {
  readonly serial: number
  readonly requestId: string
  readonly status: number
  /** `x-governor-code`; '' when there was none. */
  readonly code: string
  /** Of the bytes that were sent. */
  readonly sha256: string
}

/** A request that reached the upstream. */
export interface UpstreamSaw {
  readonly serial: number
  readonly sha256: string
}

export interface Evidence {
  readonly entries: readonly Entry[]
  readonly answers: readonly AnswerSeen[]
  readonly calls: readonly UpstreamSaw[]
  /** Of the sidecar that was ended properly, last. */
  readonly exitCode: number | null
  /** `governor audit verify --strict`. */
  readonly verified: { readonly code: number; readonly stdout: string }
  /** Hashes of all entries, here and in PostgreSQL, and how `governor audit ship` ended. */
  readonly shipping?: {
    readonly code: number
    readonly stdout: string
    readonly local: readonly string[]
    readonly there: readonly string[]
  }
}

export interface CrashReport {
  readonly problems: readonly string[]
  readonly answers: number
  readonly calls: number
  readonly decisions: number
  readonly forwarded: number
  readonly interrupted: number
  readonly shipped: number
}

const PROBLEMS_MAX = 50

/** What is wrong with the audit, given what clients and upstream saw. */
export function audit(evidence: Evidence): CrashReport {
  const { entries, answers, calls, exitCode, verified, shipping } = evidence
  const decisions = new Map<string, Entry>()
  const outcomes: Entry[] = []
  for (const entry of entries) {
    if (entry.kind === 'decision') decisions.set(entry.requestId, entry)
    if (entry.kind === 'outcome') outcomes.push(entry)
  }
  const forwarded = [...decisions.values()].filter(({ body }) => body['forward'] === true)
  const problems = [
    ...answers.flatMap((seen) => answerProblems(seen, decisions.get(seen.requestId))),
    ...outcomeProblems(forwarded, outcomes),
    ...callProblems(calls, forwarded),
    ...(shipping === undefined ? [] : shippingProblems(shipping)),
  ]
  if (exitCode !== 0) problems.push(`The last sidecar ended with ${exitCode}`)
  if (verified.code !== 0) problems.push(`verify ended with ${verified.code}: ${verified.stdout}`)
  return {
    problems: problems.slice(0, PROBLEMS_MAX),
    answers: answers.length,
    calls: calls.length,
    decisions: decisions.size,
    forwarded: forwarded.length,
    interrupted: outcomes.filter(({ body }) => body.outcome === 'interrupted').length,
    shipped: shipping?.there.length ?? 0,
  }
}

/** Each entry is there once, and nothing else is. */
function shippingProblems(shipping: NonNullable<Evidence['shipping']>): string[] {
  const { code, stdout, local, there } = shipping
  const problems = code === 0 ? [] : [`audit ship ended with ${code}: ${stdout}`]
  const seen = new Set<string>()
  for (const hash of there) {
    if (seen.has(hash)) problems.push(`Entry ${hash} is in PostgreSQL twice`)
    seen.add(hash)
  }
  const own = new Set(local)
  for (const hash of own) if (!seen.has(hash)) problems.push(`Entry ${hash} is not in PostgreSQL`)
  for (const hash of seen) if (!own.has(hash)) problems.push(`Entry ${hash} is only in PostgreSQL`)
  return problems
}

/** One outcome for each call that was let through, and for no other. */
function outcomeProblems(forwarded: readonly Entry[], outcomes: readonly Entry[]): string[] {
  const counts = new Map(forwarded.map(({ requestId }) => [requestId, 0]))
  const problems: string[] = []
  for (const { requestId } of outcomes) {
    const count = counts.get(requestId)
    if (count === undefined) problems.push(`Outcome ${requestId} belongs to no call let through`)
    else counts.set(requestId, count + 1)
  }
  for (const [requestId, count] of counts) {
    if (count !== 1) problems.push(`Call ${requestId} was let through and has ${count} outcomes`)
  }
  return problems
}

function answerProblems(seen: AnswerSeen, decision: Entry | undefined): string[] {
  const { serial, requestId, status, code, sha256 } = seen
  const what = `Answer ${status} ${code} to ${serial} (${requestId})`
  if (decision === undefined) return [`${what} has no decision in the audit`]
  const { body } = decision
  const received = body['received'] as { sha256: string } | undefined
  const problems: string[] = []
  if (received?.sha256 !== sha256) problems.push(`${what} has a decision about other bytes`)
  const wasDenied = body.decision === 'deny'
  if (wasDenied !== (code !== '' && !code.startsWith('UPSTREAM_'))) {
    problems.push(`${what} has a decision that says ${String(body.decision)}`)
  }
  if (wasDenied && body.status !== status) problems.push(`${what} is ${body.status} in the audit`)
  return problems
}

/** Nothing reached the upstream that was not let through, and nothing twice. */
function callProblems(calls: readonly UpstreamSaw[], forwarded: readonly Entry[]): string[] {
  const permitted = new Set(
    forwarded.map(({ body }) => {
      return ((body['forwarded'] ?? body['received']) as { sha256: string }).sha256
    }),
  )
  const seen = new Set<string>()
  const problems: string[] = []
  for (const { serial, sha256 } of calls) {
    if (!permitted.has(sha256)) problems.push(`Call ${serial} reached the upstream unrecorded`)
    if (seen.has(sha256)) problems.push(`Call ${serial} reached the upstream twice`)
    seen.add(sha256)
  }
  return problems
}
