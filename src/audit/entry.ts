import type { Facts, PolicyResult, Route, Trail, Usage } from '../exchange.ts'

/**
 * Bodies of the entries of a call: what happened, under OpenTelemetry's `gen_ai.*` names where it
 * has one, and never content, secrets or addresses of people. Clients choose some of the strings,
 * so every one is cut and made well-formed, and every list has an end; `truncated` names those that
 * were longer. Absent members mean "does not apply"; `facts.models` is left out when it would only
 * repeat `gen_ai.request.model`, `forwarded` when the bytes passed unchanged.
 */

/** Longest model name kept, in UTF-16 units. */
const MODEL_CHARS_MAX = 256
const NAME_CHARS_MAX = 128
const WHY_CHARS_MAX = 160
const MODELS_MAX = 8
const TOOLS_MAX = 16
const ROLES_MAX = 16
const LABELS_MAX = 16
const POLICIES_MAX = 32
const LIMITS_MAX = 16

/** Operations whose OpenTelemetry name is another one. */
const OTEL_OPERATIONS: Readonly<Record<string, string>> = {
  completions: 'text_completion',
  images: 'generate_content',
}

/** What a decision entry says beside the trail. */
export interface DecisionContext {
  /** Digest of the snapshot that decided. */
  readonly policyDigest: string
  /** The call goes upstream once this is durable, so that an outcome will follow. */
  readonly forward: boolean
  /** `attempt` of a fallback; 1 is left out. */
  readonly attempt?: number
}

/** JSON of a decision: who asked for what, what ran, what was decided and why. */
export function decisionBody(trail: Trail, context: DecisionContext): string {
  const cut = new Cutter()
  return JSON.stringify({
    kind: 'decision',
    time: new Date(trail.occurredAtMs).toISOString(),
    request_id: trail.requestId,
    ...principalOf(trail, cut),
    ...requestOf(trail),
    forward: context.forward || undefined,
    attempt: context.attempt === 1 ? undefined : context.attempt,
    ...verdictOf(trail, cut),
    stages: stagesOf(trail),
    facts: factsOf(trail, cut),
    limits: limitsOf(trail, cut),
    changed: trail.changed.length === 0 ? undefined : trail.changed,
    received: trail.body === null ? undefined : receivedOf(trail.body),
    forwarded: forwardedOf(trail),
    policy_digest: context.policyDigest,
    truncated: cut.names.length === 0 ? undefined : cut.names,
  })
}

/** JSON of an outcome: how a forwarded call ended, seen from `nowMs` (monotonic). */
export function outcomeBody(trail: Trail, endedAtMs: number, nowMs: number): string {
  const { refusal, usage } = trail
  return JSON.stringify({
    kind: 'outcome',
    time: new Date(endedAtMs).toISOString(),
    request_id: trail.requestId,
    outcome: trail.ending,
    code: refusal === null ? undefined : refusal.code,
    status: trail.status,
    upstream_status: trail.upstreamStatus || undefined,
    upstream_request_id: safe(trail.upstreamRequestId, NAME_CHARS_MAX),
    ...(usage === null ? undefined : usageOf(usage)),
    answer_bytes: trail.answerBytes,
    duration_us: micros(nowMs - trail.startedMs),
    first_byte_us: trail.firstByteMs > 0 ? micros(trail.firstByteMs - trail.startedMs) : undefined,
  })
}

function usageOf(usage: Usage): object {
  return {
    'gen_ai.response.model': safe(usage.responseModel, MODEL_CHARS_MAX),
    'gen_ai.response.id': safe(usage.responseId, NAME_CHARS_MAX),
    'gen_ai.usage.input_tokens': usage.inputTokens ?? undefined,
    'gen_ai.usage.output_tokens': usage.outputTokens ?? undefined,
    'gen_ai.usage.cache_read.input_tokens': usage.cachedTokens ?? undefined,
    'gen_ai.usage.reasoning.output_tokens': usage.reasoningTokens ?? undefined,
  }
}

/** One policy of a snapshot, as `policy.load` lists it. */
export interface LoadedPolicy {
  readonly id: string
  readonly mode: string
  readonly verb: string
}

/** JSON of `policy.load`: from here on `policy_digest` in decisions means this list. */
export function policyLoadBody(
  loaded: { readonly digest: string; readonly policies: readonly LoadedPolicy[] },
  occurredAtMs: number,
): string {
  return JSON.stringify({
    kind: 'policy.load',
    time: new Date(occurredAtMs).toISOString(),
    policy_digest: loaded.digest,
    policies: loaded.policies.map(({ id, mode, verb }) => ({
      id: safe(id, NAME_CHARS_MAX),
      mode,
      verb,
    })),
  })
}

/** JSON of `admin`: a person or a command changed something, such as `keys.create`. */
export function adminBody(
  action: string,
  about: Readonly<Record<string, string>>,
  occurredAtMs: number,
): string {
  const cut = new Cutter()
  return JSON.stringify({
    kind: 'admin',
    time: new Date(occurredAtMs).toISOString(),
    action,
    about: cut.map('about', about, LABELS_MAX),
  })
}

/** Cuts what clients chose, and remembers which lists were longer than their maximum. */
class Cutter {
  readonly names: string[] = []

  list<Item, Cut>(
    name: string,
    items: readonly Item[],
    max: number,
    cut: (item: Item) => Cut,
  ): Cut[] | undefined {
    if (items.length === 0) return undefined
    if (items.length <= max) return items.map(cut)
    this.names.push(name)
    return items.slice(0, max).map(cut)
  }

  map(
    name: string,
    values: Readonly<Record<string, string>>,
    max: number,
  ): Record<string, string> | undefined {
    const pairs = this.list(name, Object.entries(values), max, ([key, value]) => [
      cutText(key, NAME_CHARS_MAX),
      cutText(value, NAME_CHARS_MAX),
    ])
    return pairs && (Object.fromEntries(pairs) as Record<string, string>)
  }
}

/** No lone surrogate and no NUL: PostgreSQL's jsonb takes neither, and one would stop the shipping. */
function cutText(value: string, charsMax: number): string {
  const short = value.length <= charsMax ? value : value.slice(0, charsMax)
  const whole = short.isWellFormed() ? short : short.toWellFormed()
  return whole.includes('\0') ? whole.replaceAll('\0', '\u2400') : whole
}

function safe(value: string | null | undefined, charsMax: number): string | undefined {
  return value === null || value === undefined ? undefined : cutText(value, charsMax)
}

function micros(ms: number): number {
  return Math.max(0, Math.round(ms * 1000))
}

function shortName(value: string): string {
  return cutText(value, NAME_CHARS_MAX)
}

function shortModel(value: string): string {
  return cutText(value, MODEL_CHARS_MAX)
}

function principalOf({ principal }: Trail, cut: Cutter): object | undefined {
  if (principal === null) return undefined
  return {
    tenant: shortName(principal.tenant),
    key_id: principal.keyId === '' ? undefined : shortName(principal.keyId),
    user: principal.user === '' ? undefined : shortName(principal.user),
    roles: cut.list('roles', principal.roles, ROLES_MAX, shortName),
    labels: cut.map('labels', principal.labels, LABELS_MAX),
    via: principal.via,
  }
}

/** What was asked for: endpoint, upstream, model. */
function requestOf({ route, upstream, facts }: Trail): object {
  return {
    ...(route === null ? undefined : endpointOf(route)),
    upstream: upstream === null ? undefined : upstream.name,
    ...(facts === null ? undefined : askedOf(facts)),
  }
}

function endpointOf({ endpoint, dialect }: Route): object {
  const { operation, api } = endpoint
  return {
    'gen_ai.operation.name': OTEL_OPERATIONS[operation] ?? operation,
    'gen_ai.provider.name': dialect.name,
    'openai.api.type': dialect.name === 'openai' ? openaiApiType(api) : undefined,
    operation,
    api,
  }
}

function askedOf(facts: Facts): object {
  return {
    'gen_ai.request.model': facts.model === '' ? undefined : cutText(facts.model, MODEL_CHARS_MAX),
    'gen_ai.request.stream': facts.stream || undefined,
    'gen_ai.request.max_tokens': facts.maxOutputTokens ?? undefined,
  }
}

/** What was decided and by whom. A checked call is allowed or denied without being refused. */
function verdictOf(trail: Trail, cut: Cutter): object {
  const { refusal, checked } = trail
  const decision = checked ?? trail.decision
  const effect = checked === null ? 'allow' : checked.effect
  return {
    decision: refusal === null ? effect : 'deny',
    ...(refusal === null ? undefined : { status: refusal.status, code: refusal.code }),
    policy: safe(decision?.policy ?? refusal?.policy, NAME_CHARS_MAX),
    policies: decision === null ? undefined : policiesOf(decision.policies, cut),
  }
}

/** OpenTelemetry knows these two. */
function openaiApiType(api: string): string | undefined {
  if (api === 'chat.completions') return 'chat_completions'
  return api === 'responses' ? 'responses' : undefined
}

function policiesOf(policies: readonly PolicyResult[], cut: Cutter): object[] | undefined {
  return cut.list('policies', policies, POLICIES_MAX, ({ id, mode, result, why }) => ({
    id: cutText(id, NAME_CHARS_MAX),
    mode,
    result,
    why: cutText(why, WHY_CHARS_MAX),
  }))
}

function stagesOf({ stages }: Trail): Record<string, number> {
  const passed: Record<string, number> = {}
  for (const { stage, us } of stages) passed[stage] = us
  return passed
}

function factsOf({ facts }: Trail, cut: Cutter): object | undefined {
  if (facts === null) return undefined
  const { models, texts, inputChars, tools, uninspectable } = facts
  const counts: Record<string, number> = {}
  for (const { kind } of uninspectable) counts[kind] = (counts[kind] ?? 0) + 1
  return {
    models: models.length > 1 ? cut.list('models', models, MODELS_MAX, shortModel) : undefined,
    texts: texts.values.length,
    input_chars: inputChars,
    tools: cut.list('tools', tools, TOOLS_MAX, (tool) => cutText(tool, NAME_CHARS_MAX)),
    uninspectable: uninspectable.length === 0 ? undefined : counts,
  }
}

function limitsOf({ lease }: Trail, cut: Cutter): object | undefined {
  if (lease === null || lease.states.length === 0) return undefined
  const charged = cut.list(
    'limits',
    lease.states,
    LIMITS_MAX,
    ({ id, what, bucket, remaining }) => ({
      id: cutText(id, NAME_CHARS_MAX),
      what,
      bucket: cutText(bucket, NAME_CHARS_MAX),
      remaining,
    }),
  )
  return { how: 'memory', charged }
}

function receivedOf(body: NonNullable<Trail['body']>): object {
  return { bytes: body.receivedBytes, sha256: body.receivedSha256 }
}

function forwardedOf({ forwardedSha256, body }: Trail): object | undefined {
  if (forwardedSha256 === null || forwardedSha256 === body?.receivedSha256) return undefined
  return { sha256: forwardedSha256 }
}
