import { type ExportFields, exportFields } from './export-fields.ts'
import { escapeText } from './format.ts'
import type { StoredEntry } from './query.ts'

/**
 * Entries as events of the Open Cybersecurity Schema Framework 1.8: class API Activity (6003), with the
 * profiles `security_control` for decisions and `ai_operation` where a model is named.
 */

const CLASS_UID = 6003
/** "Other": none of create, read, update and delete says what asking a model is. */
const ACTIVITY_OTHER = 99
const STATUS = { unknown: 0, success: 1, failure: 2 } as const
const STATUS_NAMES = { unknown: 'Unknown', success: 'Success', failure: 'Failure' } as const
/** The caller, of the roles of `message_context`. */
const ROLE_USER = 1

/** One line: one event as JSON, its line feed included. `version` is Governor's. */
export function entryAsOcsf(entry: StoredEntry, version: string): string {
  const said = exportFields(entry)
  const event = {
    activity_id: ACTIVITY_OTHER,
    activity_name: said.action,
    category_uid: Math.floor(CLASS_UID / 1000),
    category_name: 'Application Activity',
    class_uid: CLASS_UID,
    class_name: 'API Activity',
    type_uid: CLASS_UID * 100 + ACTIVITY_OTHER,
    ...severityOf(said),
    time: said.timeMs ?? 0,
    count: said.count,
    status_id: STATUS[said.outcome],
    status: STATUS_NAMES[said.outcome],
    status_code: said.status === null ? undefined : String(said.status),
    status_detail: said.code ?? said.ending ?? undefined,
    duration: said.durationUs === null ? undefined : Math.round(said.durationUs / 1000),
    metadata: metadataOf(said, version),
    actor: actorOf(said),
    api: apiOf(said),
    // The address is personal and not in the entry: the pod that was called from is what is known.
    src_endpoint: { uid: said.writer, name: said.tenant ?? undefined },
    ...controlOf(said),
    ...modelOf(said),
    raw_data: said.body,
  }
  return `${escapeText(JSON.stringify(event))}\n`
}

function severityOf({ decision, outcome }: ExportFields) {
  if (decision === 'deny') return { severity_id: 3, severity: 'Medium' }
  return outcome === 'failure'
    ? { severity_id: 2, severity: 'Low' }
    : { severity_id: 1, severity: 'Informational' }
}

function metadataOf(said: ExportFields, version: string) {
  const profiles = [
    ...(said.decision === null ? [] : ['security_control']),
    ...(isOfModel(said) ? ['ai_operation'] : []),
  ]
  return {
    version: '1.8.0',
    product: { name: 'Governor', vendor_name: 'Governor', version },
    log_name: 'governor.audit',
    profiles: profiles.length === 0 ? undefined : profiles,
    uid: said.id,
    correlation_uid: said.requestId === '' ? undefined : said.requestId,
    sequence: said.seq,
    tenant_uid: said.tenant ?? undefined,
  }
}

function actorOf({ keyId, keyName, user }: ExportFields) {
  if (keyId === null && user === null) return { app_name: 'governor' }
  return {
    app_uid: keyId ?? undefined,
    app_name: keyName ?? undefined,
    user: user === null ? undefined : { name: user },
  }
}

function apiOf(said: ExportFields) {
  const { status, code, upstream, requestId } = said
  return {
    operation: said.action,
    service: upstream === null ? undefined : { name: upstream },
    request: requestId === '' ? undefined : { uid: requestId },
    response: status === null ? undefined : { code: status, error: code ?? undefined },
  }
}

function controlOf({ decision, policy }: ExportFields) {
  if (decision === null) return {}
  const isAllowed = decision === 'allow'
  return {
    action_id: isAllowed ? 1 : 2,
    action: isAllowed ? 'Allowed' : 'Denied',
    disposition_id: isAllowed ? 1 : 2,
    disposition: isAllowed ? 'Allowed' : 'Blocked',
    policy: policy === null ? undefined : { uid: policy, name: policy },
  }
}

function isOfModel({ model, responseModel, inputTokens, outputTokens }: ExportFields): boolean {
  return [model, responseModel, inputTokens, outputTokens].some((each) => each !== null)
}

function modelOf(said: ExportFields) {
  const { model, provider, upstream, inputTokens, outputTokens } = said
  if (!isOfModel(said)) return {}
  const name = model ?? said.responseModel
  const tokens =
    inputTokens === null || outputTokens === null ? undefined : inputTokens + outputTokens
  return {
    ai_model: name === null ? undefined : { ai_provider: provider ?? upstream ?? 'unknown', name },
    message_context: {
      ai_role_id: ROLE_USER,
      ai_role: 'User',
      service: { name: upstream ?? 'governor' },
      prompt_tokens: inputTokens ?? undefined,
      completion_tokens: outputTokens ?? undefined,
      total_tokens: tokens,
    },
  }
}
