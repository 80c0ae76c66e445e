import {
  DETECTORS,
  isOperation,
  type Operation,
  type PolicyResult,
  type Principal,
  UNUSUAL,
  type Unusual,
} from '../exchange.ts'
import { GENERATING } from './described-call.ts'
import type { PolicyCall } from './evaluate.ts'

/** Reads a decision of the audit back into what policies were asked, as far as the entry kept it. */

/** A decision the policies made. */
export interface RecordedDecision {
  readonly kind: 'decided'
  readonly requestId: string
  /** Of the snapshot that decided. */
  readonly digest: string
  readonly call: PolicyCall
  /** Fields that the entry holds in part only, in the words of the file. */
  readonly partial: ReadonlySet<string>
  /** Detectors of ours that found something; those of a file mean what that file says. */
  readonly detected: ReadonlySet<string>
  /** Whether the call had no text at all, so that none was lost. */
  readonly textless: boolean
  /** Whether the audit may have its whole body, with every text as policies saw it. */
  readonly hasPrompt: boolean
  readonly effect: 'allow' | 'deny'
  readonly policy: string | null
  /** What matched, by policy; null when the entry does not hold all of it. */
  readonly results: ReadonlyMap<string, RecordedResult> | null
}

/** What one policy found. */
export type RecordedResult = Pick<PolicyResult, 'mode' | 'result'>

/** A decision, or why it is none of the policies'. `folded` stands for `count` refusals. */
export type Recorded =
  | RecordedDecision
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'folded'; readonly count: number }
  | { readonly kind: 'unreadable' }

type Json = Readonly<Record<string, unknown>>

/** Longest strings an entry keeps; one of that length may have been cut. */
const NAME_CHARS_MAX = 128
const MODEL_CHARS_MAX = 256

/** Fields that a list of the entry stands for, where it was cut. */
const TRUNCATED: Readonly<Record<string, string>> = {
  roles: 'roles',
  labels: 'labels',
  models: 'models',
  tools: 'tools',
}

/** Reads the JSON of one decision. Never throws. */
export function readDecision(json: string): Recorded {
  const body = parse(json)
  if (body === null) return { kind: 'unreadable' }
  const repeated = body['repeated']
  if (typeof repeated === 'number') return { kind: 'folded', count: repeated }
  const facts = object(body['facts'])
  const code = text(body['code'])
  if (facts === null || object(body['stages'])?.['decide'] === undefined) {
    return { kind: 'refused', code }
  }
  const effect = effectOf(body, code)
  const operation = operationOf(body)
  const wallMs = Date.parse(text(body['time']))
  if (operation === undefined || Number.isNaN(wallMs)) return { kind: 'unreadable' }
  if (effect === null) return { kind: 'refused', code }
  const partial = partialFields(body, facts)
  const principal = principalOf(body)
  const policy = text(body['policy'])
  return {
    kind: 'decided',
    requestId: text(body['request_id']),
    digest: text(body['policy_digest']),
    call: { ...askedOf(body, facts, operation), principal, wallMs, unusual: unusualOf(body) },
    partial,
    detected: new Set(DETECTORS.filter((id) => object(facts['detected'])?.[id] !== undefined)),
    textless: facts['texts'] === 0,
    hasPrompt: hasPrompt(body),
    effect,
    policy: policy === '' ? null : policy,
    results: resultsOf(body),
  }
}

/** What was masked before it was kept is not what policies saw; what was cut is not all of it. */
function hasPrompt(body: Json): boolean {
  const prompt = object(object(body['content'])?.['prompt'])
  if (prompt === null || prompt['kept'] !== undefined) return false
  return !texts(body['changed']).includes('redacted')
}

/** A described call may have an operation of the file's own. */
function operationOf(body: Json): Operation | undefined {
  const name = text(body['operation'])
  return isOperation(name, body['api'] === 'check' ? [name] : []) ? name : undefined
}

/** What the policies said, whatever was said after them; null when the entry does not tell. */
function effectOf(body: Json, code: string): 'allow' | 'deny' | null {
  if (code === 'POLICY_DENIED') return 'deny'
  if (code === '') return body['decision'] === 'deny' ? 'deny' : 'allow'
  // A limit refused it, so policies had let it pass, unless it only asked.
  return body['api'] === 'check' ? null : 'allow'
}

function askedOf(
  body: Json,
  facts: Json,
  operation: Operation,
): Pick<PolicyCall, 'route' | 'facts' | 'upstream' | 'inputTokens'> {
  const model = text(body['gen_ai.request.model'])
  const models = texts(facts['models'])
  const pathModel = text(facts['path_model'])
  const upstream = text(body['upstream'])
  const generates = GENERATING.has(operation)
  const cap = body['gen_ai.request.max_tokens']
  const tokens = facts['estimated_tokens']
  return {
    route: {
      endpoint: { operation, api: text(body['api']), body: 'json', query: [], generates },
      pathModel: pathModel === '' ? null : pathModel,
    },
    facts: {
      model,
      models: models.length > 0 || model === '' ? models : [model],
      stream: body['gen_ai.request.stream'] === true,
      maxOutputTokens: typeof cap === 'number' ? cap : null,
      tools: texts(facts['tools']),
      texts: { values: [], pointer: () => '' },
      inputChars: typeof facts['input_chars'] === 'number' ? facts['input_chars'] : 0,
      uninspectable: Object.keys(object(facts['uninspectable']) ?? {}).map((kind) => ({
        kind: kind as PolicyCall['facts']['uninspectable'][number]['kind'],
        pointer: '',
      })),
      askUsage: null,
    },
    ...(typeof tokens === 'number' && { inputTokens: tokens }),
    upstream:
      upstream === '' ? null : { name: upstream, dialect: text(body['gen_ai.provider.name']) },
  }
}

function unusualOf(body: Json): readonly Unusual[] {
  const told = texts(body['unusual'])
  return UNUSUAL.filter((each) => told.includes(each))
}

const VIA = ['key', 'jwt', 'certificate', 'pod'] as const

function principalOf(body: Json): Principal {
  return {
    via: VIA.find((via) => via === body['via']) ?? 'key',
    tenant: text(body['tenant']),
    keyId: text(body['key_id']),
    keyName: text(body['key_name']),
    user: text(body['user']),
    roles: texts(body['roles']),
    labels: Object.fromEntries(
      Object.entries(object(body['labels']) ?? {}).map(([label, value]) => [label, text(value)]),
    ),
    ip: '',
  }
}

function partialFields(body: Json, facts: Json): Set<string> {
  const partial = new Set<string>()
  for (const name of texts(body['truncated'])) {
    const field = TRUNCATED[name]
    if (field !== undefined) partial.add(field)
  }
  const cut = (field: string, values: readonly string[], charsMax: number) => {
    if (values.some((value) => value.length >= charsMax)) partial.add(field)
  }
  const isNamed = body['key_id'] === undefined || body['key_name'] !== undefined
  if (!isNamed) partial.add('keys')
  cut('keys', [text(body['key_name'])], NAME_CHARS_MAX)
  cut('tenants', [text(body['tenant'])], NAME_CHARS_MAX)
  cut('users', [text(body['user'])], NAME_CHARS_MAX)
  cut('roles', texts(body['roles']), NAME_CHARS_MAX)
  cut(
    'labels',
    Object.entries(object(body['labels']) ?? {})
      .flat()
      .map(text),
    NAME_CHARS_MAX,
  )
  cut('tools', texts(facts['tools']), NAME_CHARS_MAX)
  const models = [text(body['gen_ai.request.model']), ...texts(facts['models'])]
  cut('models', models, MODEL_CHARS_MAX)
  return partial
}

const RESULTS = [
  'allowed',
  'denied',
  'failed',
  'error',
  'redacted',
  'set',
  'excepted',
  'skipped',
] as const
const MODES = ['enforce', 'warn', 'shadow'] as const

function resultsOf(body: Json): Map<string, RecordedResult> | null {
  if (texts(body['truncated']).includes('policies')) return null
  const results = new Map<string, RecordedResult>()
  const listed = body['policies']
  for (const each of Array.isArray(listed) ? listed : []) {
    const said = object(each)
    const result = RESULTS.find((known) => known === said?.['result'])
    const mode = MODES.find((known) => known === said?.['mode'])
    // A result of a later version: what else it lists may mean something else, too.
    if (result === undefined || mode === undefined) return null
    results.set(text(said?.['id']), { mode, result })
  }
  return results
}

function parse(json: string): Json | null {
  try {
    return object(JSON.parse(json))
  } catch {
    return null
  }
}

function object(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : null
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []
}
