import type { CallPlace } from '../audit/call-index.ts'
import type { RemotePlace } from '../audit/postgres-rows.ts'
import { wallMs } from '../clock.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { parseDuration } from '../config/units.ts'
import { GovernorError } from '../errors.ts'
import type { AdminCall, AdminHandler } from './call.ts'
import type { AuditAnswer, AuditQuestion } from './questions.ts'
import { PAGE_ENTRIES } from './routes-audit.ts'

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
  const after = textOf(call, 'after')
  const isRemote = asked['source'] === 'postgres'
  if (after !== null && /\.[0-9a-f]{32}$/.test(after) !== isRemote) {
    throw new GovernorError('FIELD_INVALID', {
      detail: '"after": expected the `next` of a page of the same source',
      param: 'after',
    })
  }
  const filter = {
    tenant: call.tenant(),
    key: textOf(call, 'key'),
    model: textOf(call, 'model'),
    decision: textOf(call, 'decision'),
    policy: textOf(call, 'policy'),
    sinceUs: sinceUsOf(call),
    limit,
  }
  const { audit } = snapshot()
  const answer = await ask(
    isRemote
      ? {
          kind: 'remote',
          url: remoteUrl(audit),
          filter: { ...filter, before: remotePlaceOf(after) },
        }
      : { kind: 'query', path: audit.path, filter: { ...filter, before: placeOf(after) } },
  )
  if (answer.kind !== 'query' && answer.kind !== 'remote') throw unread(answer)
  return {
    // They come newest last, as the command line shows them.
    entries: answer.lines.toReversed().map((line) => JSON.parse(line) as object),
    next: answer.next === null ? null : placeText(answer.next),
  }
}

/** The database that entries are shipped to. Throws FIELD_INVALID where there is none. */
function remoteUrl({ ship }: Snapshot['audit']): string {
  if (ship?.kind === 'postgres') return ship.url
  throw new GovernorError('FIELD_INVALID', {
    detail: '"source": entries are shipped to no PostgreSQL (audit.ship.postgres)',
    param: 'source',
  })
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

/** `at.epoch.id`, of PostgreSQL `at.epoch.seq.writer`: where a page ended. */
function placeText(place: CallPlace | RemotePlace): string {
  const { at, epoch } = place
  return 'id' in place
    ? `${at}.${epoch}.${place.id}`
    : `${at}.${epoch}.${place.seq}.${place.writer}`
}

function remotePlaceOf(text: string | null): RemotePlace | null {
  if (text === null) return null
  const [at = '', epoch = '', seq = '', writer = ''] = text.split('.')
  return { at: Number(at), epoch: Number(epoch), seq: Number(seq), writer }
}

function placeOf(text: string | null): CallPlace | null {
  if (text === null) return null
  const [at = 0, epoch = 0, id = 0] = text.split('.').map(Number)
  return { at, epoch, id }
}

function unread(answer: AuditAnswer): GovernorError {
  if (answer.kind === 'away') {
    return new GovernorError('AUDIT_UNREADABLE', {
      detail: 'PostgreSQL cannot be asked',
      ...(answer.isForbidden && { hint: 'The user of audit.ship.postgres needs governor_reader' }),
      headers: { 'retry-after': '1' },
      cause: new Error(answer.message),
    })
  }
  const message = answer.kind === 'failed' ? answer.message : 'another answer than was asked for'
  return new GovernorError('INTERNAL', { cause: new Error(message) })
}
