import type { AdminCall, AdminHandler } from './admin-call.ts'
import type { AuditAnswer, AuditQuestion } from './admin-questions.ts'
import { PAGE_ENTRIES } from './admin-routes-audit.ts'
import type { CallPlace } from './audit/call-index.ts'
import { wallMs } from './clock.ts'
import type { Snapshot } from './config/snapshot.ts'
import { parseDuration } from './config/units.ts'
import { GovernorError } from './errors.ts'

/** What the admin API needs to read the audit. */
export interface AuditParts {
  readonly snapshot: () => Snapshot
  readonly ask: (question: AuditQuestion) => Promise<AuditAnswer>
}

/** Handlers of `audit.read` and `calls.explain`. */
export function auditHandlers(parts: AuditParts): Record<string, AdminHandler> {
  return {
    'audit.read': async (call) => ({ value: await page(call, parts) }),
    'calls.explain': async (call) => ({ value: await explain(call, parts) }),
  }
}

async function page(call: AdminCall, { snapshot, ask }: AuditParts): Promise<object> {
  const { asked } = call
  const limit = typeof asked['limit'] === 'number' ? asked['limit'] : PAGE_ENTRIES
  const filter = {
    tenant: call.tenant(),
    key: textOf(call, 'key'),
    model: textOf(call, 'model'),
    decision: textOf(call, 'decision'),
    policy: textOf(call, 'policy'),
    sinceUs: sinceUsOf(call),
    limit,
    before: placeOf(textOf(call, 'after')),
  }
  const answer = await ask({ kind: 'query', path: snapshot().audit.path, filter })
  if (answer.kind !== 'query') throw unread(answer)
  const { lines, next } = answer
  return {
    // They come newest last, as the command line shows them.
    entries: lines.toReversed().map((line) => JSON.parse(line) as object),
    next: next === null ? null : placeText(next),
  }
}

async function explain(call: AdminCall, { snapshot, ask }: AuditParts): Promise<object> {
  const requestId = textOf(call, 'request_id')!
  const tenant = call.onlyTenant
  const answer = await ask({ kind: 'explain', snapshot: snapshot(), requestId, tenant })
  if (answer.kind !== 'explain') throw unread(answer)
  if (answer.found === null) {
    throw new GovernorError('ADMIN_UNKNOWN', { detail: 'the audit has no decision of that id' })
  }
  const { lines, told } = answer.found
  const entries = lines.map((line) => JSON.parse(line) as object)
  const refused = told.kind === 'refused' ? told.code : null
  if (told.kind !== 'decided') return { request_id: requestId, entries, refused, explained: null }
  const { kind: _, named, policy, ...rest } = told
  const explained = { ...rest, policy: named ? policy : null }
  return { request_id: requestId, entries, refused, explained }
}

function textOf({ asked }: AdminCall, name: string): string | null {
  const value = asked[name]
  return typeof value === 'string' ? value : null
}

function sinceUsOf(call: AdminCall): number {
  const parsed = parseDuration(textOf(call, 'since') ?? '')
  return parsed.ok ? Math.max(0, (wallMs() - parsed.value) * 1000) : 0
}

/** `at.epoch.id`: where a page ended. */
function placeText({ at, epoch, id }: CallPlace): string {
  return `${at}.${epoch}.${id}`
}

function placeOf(text: string | null): CallPlace | null {
  if (text === null) return null
  const [at = 0, epoch = 0, id = 0] = text.split('.').map(Number)
  return { at, epoch, id }
}

function unread(answer: AuditAnswer): GovernorError {
  const message = answer.kind === 'failed' ? answer.message : 'another answer than was asked for'
  return new GovernorError('INTERNAL', { cause: new Error(message) })
}
