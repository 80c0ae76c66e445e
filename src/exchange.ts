import { monotonicMs } from './clock.ts'
import type { GovernorError } from './errors.ts'
import type { AnswerReader, AnswerVerdict, KeptContent } from './nouns/answer.ts'
import type { Fallback } from './nouns/attempt.ts'
import type { Body, Reading } from './nouns/body.ts'
import type { CallCounts, Lease, Spent } from './nouns/lease.ts'
import type { Operation } from './nouns/operations.ts'
import type { OwnedCall } from './nouns/owned.ts'
import type { Parameter, ParameterNames } from './nouns/parameters.ts'
import type { KeyPlaces, SocketReader } from './nouns/socket-events.ts'
import type { Splice, Texts } from './nouns/texts.ts'
import { NOTHING_UNUSUAL, type Unusual } from './nouns/unusual.ts'

export type { Fallback } from './nouns/attempt.ts'
export type { Body, Hole, Reading, Spooled, SpooledForm } from './nouns/body.ts'
export { DETECTORS } from './nouns/detector-names.ts'
export type { CallCounts, Instant, Lease, LimitKind, LimitState, Spent } from './nouns/lease.ts'
export {
  isOperation,
  NEEDS_MODEL,
  OPERATIONS,
  type Operation,
  type OwnOperation,
} from './nouns/operations.ts'
export { PARAMETERS, type Parameter, type ParameterNames } from './nouns/parameters.ts'
export { NOTHING_UNUSUAL, UNUSUAL, type Unusual } from './nouns/unusual.ts'
export type { Edited, Splice, TextEdit, TextRange, Texts } from './nouns/texts.ts'

/** The nouns of one exchange, in the order a request acquires them. Plain data, no sockets. */

/** A stage of the pipeline, as the audit and the metrics name it. */
export type Stage =
  | 'match'
  | 'authenticate'
  | 'admit'
  | 'read'
  | 'inspect'
  | 'route'
  | 'decide'
  | 'reserve'
  | 'record'
  | 'forward'
  | 'relay'

/** One row of a dialect's table: what a method and path mean. */
export interface Endpoint {
  readonly operation: Operation
  /** The exact endpoint, like `chat.completions`; `request.api` in policies. */
  readonly api: string
  /** What its body may be; `form` is multipart/form-data, `none` is for endpoints that take no body. */
  readonly body: 'json' | 'form' | 'json or form' | 'none'
  /** JSON by definition: clients send it as bytes of no type, and it goes on as `application/json`. */
  readonly untyped?: boolean
  /** Query parameters that are accepted; every other is refused. */
  readonly query: readonly string[]
  /** Whether this endpoint produces text, so that an output cap means something. */
  readonly generates: boolean
}

/** What match found: an endpoint under a mount. */
export interface Route {
  readonly endpoint: Endpoint
  readonly dialect: Dialect
  /** The upstream named by the mount `/<name>/…`; null when the path alone decides. */
  readonly mount: string | null
  /** Raw path and query as they will be sent upstream, always starting with `/`. */
  readonly path: string
  /** Model named by the path (`/v1/models/{model}`), decoded once; null when there is none. */
  readonly pathModel: string | null
  /** How the session that is opened is read; absent for calls. */
  readonly socket?: SocketReader
  /** Where clients put their key; there where nothing that passes is read, and absent elsewhere. */
  readonly tunnel?: KeyPlaces
  /** Ids that the path names, in its order; absent where it names none. */
  readonly ids?: readonly string[]
}

/** Who calls. Identity comes from the credential only, never from a header that claims it. */
export interface Principal {
  readonly via: 'key' | 'jwt' | 'certificate' | 'pod'
  readonly tenant: string
  /** UUID of the key; `jwt:…` and `cert:…`, one for each caller; '' for a pod without one. */
  readonly keyId: string
  /** Of a token its issuer's name in the configuration. */
  readonly keyName: string
  readonly user: string
  readonly roles: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** Names of the upstreams its calls may go to; absent: all of them. */
  readonly upstreams?: readonly string[]
  /** Socket address of the caller; IPv6 as its /64. */
  readonly ip: string
}

/** Kinds of content that cannot be read here; policies know them by these names. */
export const UNINSPECTABLE_KINDS = [
  'image',
  'audio',
  'file',
  'token_ids',
  'reference',
  'encrypted',
  'hosted_tool',
  'tunnel',
] as const
export type UninspectableKind = (typeof UNINSPECTABLE_KINDS)[number]

/** Content that reaches the model without being readable here. */
export interface Uninspectable {
  readonly kind: UninspectableKind
  readonly pointer: string
}

/** What policy may look at. Plain data, so a decision can be replayed from the audit log. */
export interface Facts {
  /** As sent; '' when the operation names no model or it was not sent. */
  readonly model: string
  /** Every model the call names, nested ones too, as sent, `model` first, without repeats. */
  readonly models: readonly string[]
  readonly stream: boolean
  /** As sent; null when not sent. */
  readonly maxOutputTokens: number | null
  /** Names of function tools and types of hosted tools. */
  readonly tools: readonly string[]
  readonly texts: Texts
  /** Characters (UTF-16 units) of prompt content: messages, input, instructions. */
  readonly inputChars: number
  readonly uninspectable: readonly Uninspectable[]
  /** How to ask this call's answer for usage, where the client did not; null when not needed. */
  readonly askUsage: Splice | null
}

/** A provider API: where model, texts, usage and errors live. One value per file in `dialect/`. */
export interface Dialect {
  readonly name: string
  /** Header that carries the request id in this provider's answers. */
  readonly requestIdHeader: string
  /** Answer headers of the provider that pass to the client, lower case; a trailing `*` is a prefix. */
  readonly responseHeaders: readonly string[]
  /** Request headers that pass to the provider, lower case; everything else is dropped. */
  readonly requestHeaders: readonly string[]
  /** Header its clients are known by: it decides a path that two upstreams know. Absent: none. */
  readonly mark?: string
  /** Looks up a raw path without its query, as seen below the mount. */
  lookup(method: string, path: string): Lookup
  /** Strict parse of the body into facts. Throws BODY_INVALID, FIELD_INVALID, MODEL_INVALID. */
  inspect(route: Route, body: Buffer, reading: Reading): Promise<Facts>
  /** Where the parameters of an endpoint are; those it does not have are absent. */
  parameters?(api: string): Readonly<Partial<Record<Parameter, ParameterNames>>>
  /** Credential headers for the upstream. */
  credential(secret: string): Readonly<Record<string, string>>
  /** JSON text of an error answer in the provider's own shape; `api` is '' where no endpoint was found. */
  errorBody(error: GovernorError, requestId: string, api: string): string
  /** Bytes that end a broken event stream as an error the SDK raises. */
  errorFrame(error: GovernorError, requestId: string, api: string): string | Buffer
  /** Headers of an error answer by which clients of this provider know it; absent where there are none. */
  errorHeaders?(error: GovernorError): Readonly<Record<string, string>>
  /** How its answers are inspected; absent: a policy about answers refuses them. */
  readonly answers?: AnswerReader
  /** Sessions over WebSocket; absent where it has none. */
  readonly sockets?: readonly SocketReader[]
  /** A fresh meter for one answer; `asked` when `facts.askUsage` was spliced into the request. */
  meter(route: Route, facts: Facts, asked: boolean): Meter
}

/** What a dialect says of a method and path. */
export type Lookup =
  | {
      readonly kind: 'endpoint'
      readonly endpoint: Endpoint
      readonly pathModel: string | null
      readonly ids?: readonly string[]
      /** The path an upstream knows, where the client used a shorter one. */
      readonly sentAs?: string
    }
  | { readonly kind: 'method'; readonly allow: readonly string[] }
  /** Under this dialect's root, but not in its table. */
  | { readonly kind: 'unknown'; readonly hint?: string }
  /** Not this dialect's; `hint` names the right path when the mistake is a common one. */
  | { readonly kind: 'outside'; readonly hint?: string }

/** What an answer said about itself. A field nobody reported is null, never a guess. */
export interface Usage {
  readonly inputTokens: number | null
  readonly outputTokens: number | null
  readonly cachedTokens: number | null
  readonly reasoningTokens: number | null
  /** At which of the provider's rates the call was served, where that is not the usual one. */
  readonly serviceTier?: 'flex' | 'batch'
  readonly responseModel: string | null
  readonly responseId: string | null
}

/** Reads usage out of an answer as it passes. One per answer; never throws. */
export interface Meter {
  /** Headers of an answer, before its body; absent where they say nothing of usage. */
  headers?(headers: Readonly<Record<string, string | string[] | undefined>>): void
  /** A whole answer that is not an event stream. */
  whole(body: Buffer): void
  /**
   * The next bytes of an event stream; returns those to send on now. The same buffer comes back
   * untouched unless `askUsage` was spliced, when whole events are kept and the extra chunk dropped.
   */
  chunk(bytes: Buffer): Buffer
  /** Bytes still held when the stream ended; empty when there are none. */
  flush(): Buffer
  /** Whether the stream reached the provider's own end mark. */
  readonly complete: boolean
  /** Whether nothing can follow any more that a client waits for; absent where that is never certain. */
  readonly isOver?: boolean
  readonly usage: Usage
  /** Why the stream cannot be read any further, and ends here; absent where any bytes pass. */
  readonly failure?: GovernorError | null
}

/** Where a call goes. */
export interface Upstream {
  readonly name: string
  readonly dialect: string
}

/** What a decision is. */
export type Effect = 'allow' | 'deny'
/** Whether a policy decides, only warns, or is only recorded. */
export type Mode = 'enforce' | 'warn' | 'shadow'

/** One policy that matched, was skipped, warned or failed, as the audit entry keeps it. */
export interface PolicyResult {
  readonly id: string
  readonly mode: Mode
  /**
   * `excepted`: it would have refused or changed the call, and `exception` lifts it. `skipped`: a service
   * was not asked, because the call is refused anyway.
   */
  readonly result:
    | 'allowed'
    | 'denied'
    | 'failed'
    | 'error'
    | 'redacted'
    | 'set'
    | 'excepted'
    | 'skipped'
  /** Which field decided, in words; never the text that matched. */
  readonly why: string
  /** Id of the exception that lifted it; with `excepted` only. */
  readonly exception?: string
}

/** An approved exception that lifted a policy from a call. */
export interface UsedException {
  readonly id: string
  readonly policy: string
  readonly reason: string
  readonly approvedBy: string
  /** Milliseconds since 1970. */
  readonly expiresMs: number
}

/** What the policies make of a call. */
export interface Decision {
  readonly effect: Effect
  /** The policy that decided; null when no policy did (`defaults.decision`, `uninspectable`). */
  readonly policy: string | null
  /** Shown to the client when denied. */
  readonly message: string
  readonly policies: readonly PolicyResult[]
  /** Ids of policies in mode warn that would have refused. */
  readonly warnings: readonly string[]
  /** Ids of policies that look at the answer; absent where there are none. */
  readonly answers?: readonly string[]
  /** Values found in the texts, by detector; absent where no detector ran or nothing was found. */
  readonly detected?: Readonly<Record<string, number>>
  /** Exceptions without which a policy would have refused or changed the call; absent where none. */
  readonly exceptions?: readonly UsedException[]
  /** What policies make of the call before it goes on; absent where they change nothing. */
  readonly changes?: Changes
}

/** A call as it goes on, where that is not as it was sent. */
export interface Changes {
  readonly bytes: Buffer
  /** Of `bytes`; limits, the meter and the upstream go by these, the entry by those of what was sent. */
  readonly facts: Facts
  readonly names: readonly ('redacted' | 'set')[]
  /** What each placeholder stands for; never written anywhere. Absent where nothing is masked. */
  readonly masked?: ReadonlyMap<string, string>
  /** They are put back where the answer has them. */
  readonly restores?: boolean
}

/** What a candidate configuration would have decided; nothing follows from it. */
export interface CandidateDecision {
  /** Of the candidate's file, hex. */
  readonly digest: string
  readonly decision: Decision
}

/** What ended an exchange, seen from outside. */
export type Ending = 'complete' | 'refused' | 'client_closed' | 'upstream_failed' | 'incomplete'

/** Collects what is learned about one exchange. Only `pipeline.ts` and the stages it calls write it. */
export class Trail {
  readonly requestId: string
  readonly occurredAtMs: number
  readonly startedMs: number
  /** Stages passed, in order, and how long each took, microseconds: two lists, no object a stage. */
  readonly stages: Stage[] = []
  readonly stagesUs: number[] = []
  /** Digest of the snapshot the exchange began with, hex; the one that decides it. */
  policyDigest = ''
  /** Who called from where with what, when `audit.content` asks for it; never in an entry itself. */
  client: { readonly address: string; readonly userAgent: string } | null = null
  /** Request id of the session this is an event of; null for calls. */
  session: string | null = null
  route: Route | null = null
  principal: Principal | null = null
  /** About this call, seen from the past of its caller. */
  unusual: readonly Unusual[] = NOTHING_UNUSUAL
  body: Body | null = null
  facts: Facts | null = null
  upstream: Upstream | null = null
  /** Null where the call is about nothing that is kept, or nobody minds. */
  owned: OwnedCall | null = null
  decision: Decision | null = null
  /** What `/v1/check` was told; the entry names this decision, the call itself was let through. */
  checked: Decision | null = null
  /** Null where no candidate is configured, or nobody was asked. */
  candidate: CandidateDecision | null = null
  lease: Lease | null = null
  refusal: GovernorError | null = null
  /** Changes made to the bytes, as in `x-governor-changed`. */
  changed: ('decoded' | 'redacted' | 'set' | 'usage' | 'models' | 'stored' | 'fallback')[] = []
  forwardedSha256: string | null = null
  /** The decision entry was handed to the log (it may or may not have become durable). */
  decisionQueued = false
  /** The decision entry is durable. */
  recorded = false
  /** The log did not take the decision, and the call goes on all the same (`audit.required: false`). */
  unrecorded = false
  /** What the audit keeps of prompt and answer; null where it keeps none (`audit.content`). */
  kept: KeptContent | null = null
  /** The request was handed to the upstream. */
  forwarded = false
  /** What follows when this pass failed; null where nothing does. */
  fallback: Fallback | null = null
  /** What made it follow another pass, whose failure the client hears when it is refused. */
  follows: Fallback | null = null
  /** How often it was sent. */
  tries = 0
  /** Who had it last, where that is another of the group than the one that was decided on. */
  movedTo: string | null = null
  /** Status the client received; 0 when none was sent. */
  status = 0
  upstreamStatus = 0
  upstreamRequestId: string | null = null
  ending: Ending = 'refused'
  usage: Usage | null = null
  /** Null where no limit is about tokens or cost. */
  counts: CallCounts | null = null
  /** What the call is charged; null when it took nothing or nobody knows. */
  spent: Spent | null = null
  /** Absent where no policy looks at the answer. */
  answer: AnswerVerdict | null = null
  answerBytes = 0
  /** Of a tunnel: what the client sent through it. */
  sentBytes = 0
  firstByteMs = 0
  #lastMs: number

  /** `passMs` is when this pass began, where that is later than the call. */
  constructor(requestId: string, occurredAtMs: number, startedMs: number, passMs = startedMs) {
    this.requestId = requestId
    this.occurredAtMs = occurredAtMs
    this.startedMs = startedMs
    this.#lastMs = passMs
  }

  /** Facts of the call as it goes on. */
  get going(): Facts {
    return this.decision?.changes?.facts ?? this.facts!
  }

  /** Notes that a stage passed and how long it took; hands its value on. */
  passed<Value>(stage: Stage, value: Value, nowMs = monotonicMs()): Value {
    this.stages.push(stage)
    this.stagesUs.push(Math.round((nowMs - this.#lastMs) * 1000))
    this.#lastMs = nowMs
    return value
  }
}
