import type {
  Body,
  Endpoint,
  Facts,
  LimitState,
  PolicyResult,
  Principal,
  Route,
  Spent,
  Trail,
  Upstream,
  Usage,
  UsedException,
} from '../exchange.ts'
import { answerMembers } from './entry-answer.ts'
import { candidateMember } from './entry-candidate.ts'
import {
  Cutter,
  cutText,
  member,
  MODEL_CHARS_MAX,
  NAME_CHARS_MAX,
  number,
  quoted,
  safe,
} from './entry-text.ts'
import { isoTime } from './iso-time.ts'
import { openaiApiType, otelOperation, otelProvider } from './otel-names.ts'

/**
 * Bodies of the entries of a call: what happened, under OpenTelemetry's `gen_ai.*` names where it
 * has one, and never content, secrets or addresses of people. Clients choose some of the strings,
 * so every one is cut and made well-formed, and every list has an end; `truncated` names those that
 * were longer. Absent members mean "does not apply"; `facts.models` is left out when it would only
 * repeat `gen_ai.request.model`.
 */

const WHY_CHARS_MAX = 160
const MODELS_MAX = 8
const TOOLS_MAX = 16
const ROLES_MAX = 16
const LABELS_MAX = 16
const POLICIES_MAX = 32
const LIMITS_MAX = 16
const DETECTED_MAX = 16

/** What a decision entry says beside the trail. */
export interface DecisionContext {
  /** Digest of the snapshot that decided. */
  readonly policyDigest: string
  /** The call goes upstream once this is durable, so that an outcome will follow. */
  readonly forward: boolean
  /** `attempt` of a fallback; 1 is left out. */
  readonly attempt?: number
}

/**
 * JSON of a decision: who asked for what, what ran, what was decided and why. Written by hand, member
 * by member: `JSON.stringify` over an object made for it cost 6.2 µs, this costs 3.9.
 */
export function decisionBody(trail: Trail, context: DecisionContext): string {
  const cut = new Cutter()
  const decision = trail.checked ?? trail.decision
  return (
    `{"kind":"decision","time":"${isoTime(trail.occurredAtMs)}"` +
    member('request_id', trail.requestId) +
    member('session', trail.session) +
    member('origin', trail.owned?.origin) +
    principalOf(trail, cut) +
    requestOf(trail) +
    verdictOf(trail, context) +
    (decision === null ? '' : policiesOf(decision.policies, cut)) +
    (trail.candidate === null ? '' : candidateMember(trail.candidate, decision)) +
    stagesOf(trail) +
    factsOf(trail, cut) +
    limitsOf(trail, cut) +
    bytesOf(trail, context.forward) +
    member('policy_digest', context.policyDigest) +
    (cut.names.length === 0 ? '}' : `,"truncated":${JSON.stringify(cut.names)}}`)
  )
}

/** What was decided, and with which answer when it was no. */
function verdictOf(trail: Trail, { forward, attempt = 1 }: DecisionContext): string {
  const { refusal, checked } = trail
  const decision = checked ?? trail.decision
  const effect = refusal === null ? (checked?.effect ?? 'allow') : 'deny'
  return (
    member('decision', effect) +
    (forward ? ',"forward":true' : '') +
    (attempt === 1 ? '' : `,"attempt":${attempt}`) +
    (refusal === null ? '' : `,"status":${refusal.status},"code":"${refusal.code}"`) +
    member('policy', decision?.policy ?? refusal?.policy, NAME_CHARS_MAX)
  )
}

/** What came and what went on: digests, never content. */
function bytesOf(trail: Trail, forward: boolean): string {
  const { changed, body, forwardedSha256 } = trail
  const went = changed.length === 0 ? '' : `,"changed":${JSON.stringify(changed)}`
  if (body === null) return went
  const received = went + receivedOf(body)
  if (!forward || forwardedSha256 === null) return received
  return `${received},"forwarded":{"sha256":"${forwardedSha256}"}`
}

/** JSON of an outcome: how a forwarded call ended, seen from `nowMs` (monotonic). */
export function outcomeBody(trail: Trail, endedAtMs: number, nowMs: number): string {
  const { usage, firstByteMs, startedMs } = trail
  return (
    `{"kind":"outcome","time":"${isoTime(endedAtMs)}"` +
    member('request_id', trail.requestId) +
    member('outcome', trail.ending) +
    member('code', trail.refusal?.code) +
    `,"status":${trail.status}` +
    (trail.upstreamStatus === 0 ? '' : `,"upstream_status":${trail.upstreamStatus}`) +
    member('upstream_request_id', trail.upstreamRequestId, NAME_CHARS_MAX) +
    (trail.tries < 2 ? '' : `,"tries":${trail.tries}`) +
    member('upstream', trail.movedTo) +
    member('fallback', trail.fallback?.model) +
    (usage === null ? '' : usageOf(usage)) +
    (trail.spent === null ? '' : spentOf(trail, trail.spent)) +
    (trail.answer === null ? '' : answerMembers(trail, trail.answer)) +
    (trail.sentBytes === 0 ? '' : `,"sent_bytes":${trail.sentBytes}`) +
    `,"answer_bytes":${trail.answerBytes},"duration_us":${micros(nowMs - startedMs)}` +
    (firstByteMs > 0 ? `,"first_byte_us":${micros(firstByteMs - startedMs)}}` : '}')
  )
}

/** What the call took and which limits were charged how much of it; cost in nano-USD. */
function spentOf({ lease }: Trail, { tokens, costNanoUsd, estimated }: Spent): string {
  const charged = (lease?.states ?? [])
    .filter(({ reserved }) => reserved !== undefined)
    .slice(0, LIMITS_MAX)
    .map(({ id, what, bucket }) => {
      const amount = what === 'tokens' ? tokens : (costNanoUsd ?? 0)
      const name = quoted(id, NAME_CHARS_MAX)
      return `{"id":${name},"what":"${what}","bucket":"${bucket}","amount":${amount}}`
    })
  return (
    number('cost_nano_usd', costNanoUsd) +
    (estimated ? `,"estimated_tokens":${tokens}` : '') +
    (charged.length === 0 ? '' : `,"limits":{"charged":[${charged.join(',')}]}`)
  )
}

function usageOf(usage: Usage): string {
  return (
    member('gen_ai.response.model', usage.responseModel, MODEL_CHARS_MAX) +
    member('gen_ai.response.id', usage.responseId, NAME_CHARS_MAX) +
    number('gen_ai.usage.input_tokens', usage.inputTokens) +
    number('gen_ai.usage.output_tokens', usage.outputTokens) +
    number('gen_ai.usage.cache_read.input_tokens', usage.cachedTokens) +
    number('gen_ai.usage.reasoning.output_tokens', usage.reasoningTokens)
  )
}

/** One policy of a snapshot, as `policy.load` lists it. */
export interface LoadedPolicy {
  readonly id: string
  readonly mode: string
  readonly verb: string
  /** Names what it looks for; equal rules match the same calls. */
  readonly rule?: string
}

/** What the log is told of a snapshot before it decides. */
export interface LoadedSnapshot {
  /** A candidate decides nothing; `live` when absent. */
  readonly role?: 'live' | 'candidate'
  readonly digest: string
  readonly policies: readonly LoadedPolicy[]
  readonly exceptions?: readonly UsedException[]
}

/** JSON of `policy.load`: from here on `policy_digest` in decisions means this list. */
export function policyLoadBody(loaded: LoadedSnapshot, occurredAtMs: number): string {
  return JSON.stringify({
    kind: 'policy.load',
    time: new Date(occurredAtMs).toISOString(),
    role: loaded.role === 'candidate' ? 'candidate' : undefined,
    policy_digest: loaded.digest,
    policies: loaded.policies.map(({ id, mode, verb, rule }) => ({
      id: safe(id, NAME_CHARS_MAX),
      mode,
      verb,
      rule,
    })),
    exceptions: loaded.exceptions?.map(({ id, policy, expiresMs, approvedBy }) => ({
      id,
      policy,
      approved_by: safe(approvedBy, NAME_CHARS_MAX),
      expires: new Date(expiresMs).toISOString(),
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

function micros(ms: number): number {
  return Math.max(0, Math.round(ms * 1000))
}

interface Fragment {
  readonly text: string
  readonly truncated: readonly string[]
}

/** A caller's principal is the same object from call to call, and so is what is said of it. */
const principals = new WeakMap<Principal, Fragment>()

function principalOf({ principal, unusual: odd }: Trail, cut: Cutter): string {
  if (principal === null) return ''
  let fragment = principals.get(principal)
  if (fragment === undefined) {
    const own = new Cutter()
    const said = JSON.stringify({
      tenant: nameOf(principal.tenant),
      key_id: principal.keyId === '' ? undefined : nameOf(principal.keyId),
      key_name: principal.keyName === '' ? undefined : nameOf(principal.keyName),
      user: principal.user === '' ? undefined : nameOf(principal.user),
      roles: own.list('roles', principal.roles, ROLES_MAX, nameOf),
      labels: own.map('labels', principal.labels, LABELS_MAX),
      via: principal.via,
    })
    fragment = { text: `,${said.slice(1, -1)}`, truncated: own.names }
    principals.set(principal, fragment)
  }
  if (fragment.truncated.length > 0) cut.names.push(...fragment.truncated)
  return odd.length === 0 ? fragment.text : `${fragment.text},"unusual":${JSON.stringify(odd)}`
}

/** Where calls go and what they are there, by upstream and endpoint. */
const places = new WeakMap<Upstream, WeakMap<Endpoint, string>>()

function placeOf(route: Route | null, upstream: Upstream | null): string {
  if (route === null || upstream === null) return placeFragment(route, upstream)
  let known = places.get(upstream)
  if (known === undefined) places.set(upstream, (known = new WeakMap()))
  let fragment = known.get(route.endpoint)
  if (fragment === undefined) {
    fragment = placeFragment(route, upstream)
    known.set(route.endpoint, fragment)
  }
  return fragment
}

function placeFragment(route: Route | null, upstream: Upstream | null): string {
  const provider = upstream?.dialect ?? route?.dialect.name
  const said = route === null ? '' : endpointOf(route.endpoint, provider)
  return said + member('upstream', upstream?.name)
}

function requestOf({ route, upstream, facts }: Trail): string {
  const place = placeOf(route, upstream)
  if (facts === null) return place
  return (
    place +
    (facts.model === '' ? '' : member('gen_ai.request.model', facts.model)) +
    (facts.stream ? ',"gen_ai.request.stream":true' : '') +
    number('gen_ai.request.max_tokens', facts.maxOutputTokens)
  )
}

function endpointOf({ operation, api }: Endpoint, provider: string | undefined): string {
  return (
    member('gen_ai.operation.name', otelOperation(operation)) +
    member('gen_ai.provider.name', otelProvider(provider)) +
    member('openai.api.type', openaiApiType(provider, api)) +
    member('operation', operation) +
    member('api', api)
  )
}

function nameOf(value: string): string {
  return cutText(value, NAME_CHARS_MAX)
}

/** A decision that is the same for all calls alike is one frozen object, and so is what is said of it. */
const decisions = new WeakMap<readonly PolicyResult[], Fragment>()

function policiesOf(policies: readonly PolicyResult[], cut: Cutter): string {
  let fragment = decisions.get(policies)
  if (fragment === undefined) {
    fragment = policyFragment(policies)
    if (Object.isFrozen(policies)) decisions.set(policies, fragment)
  }
  if (fragment.truncated.length > 0) cut.names.push(...fragment.truncated)
  return fragment.text
}

function policyFragment(policies: readonly PolicyResult[]): Fragment {
  const own = new Cutter()
  const said = own.list('policies', policies, POLICIES_MAX, (each) => {
    const { id, mode, result, why, exception } = each
    const name = quoted(id, NAME_CHARS_MAX)
    const by = member('exception', exception, NAME_CHARS_MAX)
    return `{"id":${name},"mode":"${mode}","result":"${result}","why":${quoted(why, WHY_CHARS_MAX)}${by}}`
  })
  const text = said === undefined ? '' : `,"policies":[${said.join(',')}]`
  return { text, truncated: own.names }
}

function stagesOf({ stages, stagesUs }: Trail): string {
  let passed = ''
  for (let index = 0; index < stages.length; index++) {
    passed += `${index === 0 ? '' : ','}"${stages[index]!}":${stagesUs[index]!}`
  }
  return `,"stages":{${passed}}`
}

function factsOf(trail: Trail, cut: Cutter): string {
  const { facts, route, counts } = trail
  if (facts === null) return ''
  const { models, texts, inputChars, tools, uninspectable } = facts
  const repeats = models.length === 1 && models[0] === facts.model
  const named = repeats ? undefined : cut.list('models', models, MODELS_MAX, modelName)
  const tooled = cut.list('tools', tools, TOOLS_MAX, toolName)
  return (
    `,"facts":{${named === undefined ? '' : `"models":[${named.join(',')}],`}` +
    `"texts":${texts.values.length},"input_chars":${inputChars}` +
    (counts === null ? '' : `,"estimated_tokens":${counts.inputTokens}`) +
    member('path_model', route?.pathModel) +
    (tooled === undefined ? '' : `,"tools":[${tooled.join(',')}]`) +
    (uninspectable.length === 0 ? '' : `,"uninspectable":${countsOf(uninspectable)}`) +
    `${detectedOf(trail, cut)}}`
  )
}

function modelName(name: string): string {
  return quoted(name, MODEL_CHARS_MAX)
}

function toolName(name: string): string {
  return quoted(name, NAME_CHARS_MAX)
}

function countsOf(uninspectable: Facts['uninspectable']): string {
  const counts: Record<string, number> = {}
  for (const { kind } of uninspectable) counts[kind] = (counts[kind] ?? 0) + 1
  return JSON.stringify(counts)
}

/** Values found, by detector. */
function detectedOf({ decision, checked }: Trail, cut: Cutter): string {
  const found = Object.entries((checked ?? decision)?.detected ?? {})
  const counts = cut.list('detected', found, DETECTED_MAX, ([id, count]) => {
    return `${quoted(id, NAME_CHARS_MAX)}:${count}`
  })
  return counts === undefined ? '' : `,"detected":{${counts.join(',')}}`
}

function limitsOf({ lease, refusal }: Trail, cut: Cutter): string {
  const states = lease?.states ?? []
  const how = lease?.how ?? refusal?.headers?.['x-governor-ratelimit-store'] ?? 'memory'
  // While a shared store is lost, calls pass that are counted nowhere, or are refused for its sake.
  if (states.length === 0) return how === 'local_share' ? ',"limits":{"how":"local_share"}' : ''
  if (states.length > LIMITS_MAX) cut.names.push('limits')
  return `,"limits":{"how":"${how}","charged":[${chargedOf(states)}]}`
}

function chargedOf(states: readonly LimitState[]): string {
  let charged = ''
  for (let index = 0; index < states.length && index < LIMITS_MAX; index++) {
    const { id, what, bucket, remaining, reserved } = states[index]!
    const held = reserved === undefined ? '' : `,"reserved":${reserved}`
    const name = quoted(id, NAME_CHARS_MAX)
    if (index > 0) charged += ','
    charged += `{"id":${name},"what":"${what}","bucket":"${bucket}","remaining":${remaining}${held}}`
  }
  return charged
}

function receivedOf({ receivedBytes, receivedSha256 }: Body): string {
  return `,"received":{"bytes":${receivedBytes},"sha256":"${receivedSha256}"}`
}
