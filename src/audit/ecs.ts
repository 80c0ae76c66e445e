import { type ExportFields, exportFields } from './export-fields.ts'
import { escapeText } from './format.ts'
import type { StoredEntry } from './query.ts'

/** Entries as documents of the Elastic Common Schema 9.4, with its `gen_ai.*` fields. */

const NS_PER_US = 1000

/** One line: one document as JSON, its line feed included. `version` is Governor's. */
export function entryAsEcs(entry: StoredEntry, version: string): string {
  const said = exportFields(entry)
  const { timeMs, requestId, tenant, policy, status } = said
  const document = {
    '@timestamp': new Date(timeMs ?? 0).toISOString(),
    ecs: { version: '9.4.0' },
    event: eventOf(said),
    service: {
      name: 'governor',
      type: 'governor',
      version,
      node: { name: said.writer },
    },
    organization: tenant === null ? undefined : { id: tenant },
    user: userOf(said),
    rule: policy === null ? undefined : { id: policy, name: policy },
    transaction: requestId === '' ? undefined : { id: requestId },
    http:
      requestId === ''
        ? undefined
        : {
            request: { id: requestId },
            response: status === null ? undefined : { status_code: status },
          },
    gen_ai: genAiOf(said),
  }
  return `${escapeText(JSON.stringify(document))}\n`
}

function eventOf(said: ExportFields) {
  const { timeMs, kind, outcome, code, ending, durationUs } = said
  const isCall = kind === 'decision' || kind === 'outcome' || kind === 'unauthenticated'
  return {
    kind: said.decision === 'deny' ? 'alert' : 'event',
    category: [categoryOf(kind)],
    type: typesOf(said),
    outcome,
    action: isCall ? `llm-${said.action}` : said.action,
    dataset: 'governor.audit',
    module: 'governor',
    provider: kind,
    id: said.id,
    sequence: said.seq,
    reason: code ?? ending ?? undefined,
    duration: durationUs === null ? undefined : durationUs * NS_PER_US,
    created: timeMs === null ? undefined : new Date(timeMs).toISOString(),
    original: said.body,
  }
}

function categoryOf(kind: string): string {
  if (kind === 'unauthenticated') return 'authentication'
  if (kind.startsWith('writer.') || kind === 'heartbeat') return 'process'
  return kind === 'decision' || kind === 'outcome' ? 'api' : 'configuration'
}

/** Only those that ECS expects beside the category. */
function typesOf({ kind, decision }: ExportFields): string[] {
  if (kind === 'unauthenticated') return ['info']
  if (decision !== null) return ['access', decision === 'allow' ? 'allowed' : 'denied']
  if (kind === 'outcome') return ['access', 'end']
  if (kind === 'decision') return ['access']
  if (kind === 'writer.open') return ['start']
  if (kind === 'writer.close') return ['end']
  return kind === 'admin' || kind === 'policy.load' ? ['change'] : ['info']
}

function userOf({ keyId, keyName, user }: ExportFields) {
  if (keyId === null && user === null) return undefined
  return { id: keyId ?? undefined, name: user ?? keyName ?? undefined }
}

function genAiOf(said: ExportFields) {
  const { operation, provider, model, responseModel, responseId, inputTokens, outputTokens } = said
  const parts = {
    operation: named('name', operation),
    provider: named('name', provider),
    request: named('model', model),
    response:
      responseModel === null && responseId === null
        ? undefined
        : { model: responseModel ?? undefined, id: responseId ?? undefined },
    usage:
      inputTokens === null && outputTokens === null
        ? undefined
        : { input_tokens: inputTokens ?? undefined, output_tokens: outputTokens ?? undefined },
  }
  return Object.values(parts).every((part) => part === undefined) ? undefined : parts
}

function named(name: string, value: string | null): Record<string, string> | undefined {
  return value === null ? undefined : { [name]: value }
}
