import {
  type Facts,
  NOTHING_UNUSUAL,
  type Principal,
  type Route,
  type Unusual,
  type Upstream,
} from '../exchange.ts'

/** What an expression sees of a call: total and typed, integers as BigInt, everything bounded. */

/** What facts are made of. */
export interface ExpressionCall {
  readonly principal: Principal
  readonly route: Pick<Route, 'endpoint' | 'pathModel'>
  readonly facts: Facts
  readonly upstream: Upstream | null
  /** When the call arrived, milliseconds since 1970: what the audit entry keeps as `time`. */
  readonly wallMs: number
  /** What is unusual about it; absent is nothing. */
  readonly unusual?: readonly Unusual[]
}

/** The most items of a list or map; a call with more makes an expression that reads them fail. */
export const ITEMS_MAX = {
  'request.models': 65,
  'request.tools': 256,
  'request.uninspectable': 8,
  'caller.roles': 64,
  'caller.labels': 64,
  'caller.unusual': 4,
} as const
/** The longest text an expression reads, UTF-16 units; longer ones make it fail. */
export const TEXT_UNITS_MAX = 512
/** The longest all texts of a list or map are together. */
export const LIST_UNITS_MAX = 16_384
/** The largest integer of CEL: 64 bits with a sign. */
export const INT_MAX = 2n ** 63n - 1n

/** Types of fields by root, in CEL's words; the documentation is tested against it. */
export const FIELDS = {
  request: {
    operation: 'string',
    api: 'string',
    model: 'string',
    models: 'list<string>',
    stream: 'bool',
    max_output_tokens: 'int',
    tools: 'list<string>',
    input_chars: 'int',
    uninspectable: 'list<string>',
    upstream: 'string',
  },
  caller: {
    tenant: 'string',
    user: 'string',
    key: 'string',
    key_name: 'string',
    roles: 'list<string>',
    labels: 'map<string, string>',
    via: 'string',
    unusual: 'list<string>',
  },
  time: {
    hour: 'int',
    minute: 'int',
    weekday: 'int',
    day: 'int',
    month: 'int',
    year: 'int',
    date: 'string',
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, string>>>>
export type Root = keyof typeof FIELDS

/** A value larger than an expression may read. Its message is safe to record. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge'
}

/** `request`, read when asked for; lists are checked once a call. */
export class RequestFacts {
  readonly #call: ExpressionCall
  readonly #lists = new Map<keyof typeof ITEMS_MAX, readonly string[]>()

  constructor(call: ExpressionCall) {
    this.#call = call
  }

  get operation(): string {
    return this.#call.route.endpoint.operation
  }

  get api(): string {
    return this.#call.route.endpoint.api
  }

  /** As sent, in the body or the path. */
  get model(): string {
    return bounded('request.model', this.#call.facts.model || (this.#call.route.pathModel ?? ''))
  }

  get models(): readonly string[] {
    const { facts, route } = this.#call
    const { pathModel } = route
    return this.#list('request.models', () =>
      pathModel === null || facts.models.includes(pathModel)
        ? facts.models
        : [...facts.models, pathModel],
    )
  }

  get stream(): boolean {
    return this.#call.facts.stream
  }

  /** Unset is without end where text is generated, so that `<= 8192` refuses an uncapped call. */
  get max_output_tokens(): bigint {
    const { facts, route } = this.#call
    if (facts.maxOutputTokens !== null) return toInt(facts.maxOutputTokens)
    return route.endpoint.generates ? INT_MAX : 0n
  }

  get has_max_output_tokens(): boolean {
    return this.#call.facts.maxOutputTokens !== null
  }

  get tools(): readonly string[] {
    return this.#list('request.tools', () => this.#call.facts.tools)
  }

  get input_chars(): bigint {
    return toInt(this.#call.facts.inputChars)
  }

  /** Kinds, each once. */
  get uninspectable(): readonly string[] {
    return this.#list('request.uninspectable', () => [
      ...new Set(this.#call.facts.uninspectable.map(({ kind }) => kind)),
    ])
  }

  get upstream(): string {
    return this.#call.upstream?.name ?? ''
  }

  #list(name: keyof typeof ITEMS_MAX, read: () => readonly string[]): readonly string[] {
    const known = this.#lists.get(name)
    if (known !== undefined) return known
    const list = boundedList(name, read())
    this.#lists.set(name, list)
    return list
  }
}

/** `caller`. */
export class CallerFacts {
  readonly #principal: Principal
  #labels: ReadonlyMap<string, string> | null = null
  #roles: readonly string[] | null = null

  /** Words of a closed list, each once. */
  readonly unusual: readonly Unusual[]

  constructor(principal: Principal, unusual: readonly Unusual[] = NOTHING_UNUSUAL) {
    this.#principal = principal
    this.unusual = unusual
  }

  get tenant(): string {
    return bounded('caller.tenant', this.#principal.tenant)
  }

  get user(): string {
    return bounded('caller.user', this.#principal.user)
  }

  /** Id of the key; '' for a pod. */
  get key(): string {
    return this.#principal.keyId
  }

  get key_name(): string {
    return bounded('caller.key_name', this.#principal.keyName)
  }

  get roles(): readonly string[] {
    return (this.#roles ??= boundedList('caller.roles', this.#principal.roles))
  }

  get labels(): ReadonlyMap<string, string> {
    return (this.#labels ??= boundedMap('caller.labels', this.#principal.labels))
  }

  get via(): string {
    return this.#principal.via
  }

  /** A label, '' when the caller has none of that name. */
  label(name: string): string {
    return this.labels.get(name) ?? ''
  }
}

/** `time`: a moment as a clock in one time zone shows it. */
export class TimeFacts {
  readonly wallMs: number
  readonly #clock: Date

  /** `clock` shows in its UTC fields what the zone's clock shows. */
  constructor(wallMs: number, clock = new Date(wallMs)) {
    this.wallMs = wallMs
    this.#clock = clock
  }

  get hour(): bigint {
    return BigInt(this.#clock.getUTCHours())
  }

  get minute(): bigint {
    return BigInt(this.#clock.getUTCMinutes())
  }

  /** 0 is Sunday, as in CEL's own getDayOfWeek(). */
  get weekday(): bigint {
    return BigInt(this.#clock.getUTCDay())
  }

  get day(): bigint {
    return BigInt(this.#clock.getUTCDate())
  }

  /** 1 is January. */
  get month(): bigint {
    return BigInt(this.#clock.getUTCMonth() + 1)
  }

  get year(): bigint {
    return BigInt(this.#clock.getUTCFullYear())
  }

  /** `2027-01-31`. */
  get date(): string {
    return this.#clock.toISOString().slice(0, 10)
  }
}

/** Shows moments on the clock of one time zone, daylight saving included. */
export class ZoneClock {
  readonly #format: Intl.DateTimeFormat
  #last: TimeFacts | null = null

  /** Throws a RangeError when `zone` is not an IANA name. */
  constructor(zone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
    })
  }

  /** The last moment is remembered: formatting costs some microseconds. */
  at(wallMs: number): TimeFacts {
    if (this.#last?.wallMs === wallMs) return this.#last
    const parts = new Map(
      this.#format.formatToParts(wallMs).map(({ type, value }) => [type, Number(value)]),
    )
    const of = (part: Intl.DateTimeFormatPartTypes) => parts.get(part) ?? 0
    const shown = Date.UTC(of('year'), of('month') - 1, of('day'), of('hour'), of('minute'))
    return (this.#last = new TimeFacts(wallMs, new Date(shown)))
  }
}

/** The variables of an expression for one call, made once for all expressions. */
export interface ExpressionFacts {
  readonly request: RequestFacts
  readonly caller: CallerFacts
  readonly time: TimeFacts
}

/** Cheap: nothing is read before an expression asks. */
export function expressionFacts(call: ExpressionCall): ExpressionFacts {
  return {
    request: new RequestFacts(call),
    caller: new CallerFacts(call.principal, call.unusual),
    time: new TimeFacts(call.wallMs),
  }
}

function toInt(value: number): bigint {
  return value < 2 ** 63 ? BigInt(Math.trunc(value)) : INT_MAX
}

function bounded(name: string, text: string): string {
  if (text.length <= TEXT_UNITS_MAX) return text
  throw new TooLarge(`${name} is longer than ${TEXT_UNITS_MAX} characters`)
}

function boundedList(name: keyof typeof ITEMS_MAX, list: readonly string[]): readonly string[] {
  if (list.length > ITEMS_MAX[name]) {
    throw new TooLarge(`${name} has more than ${ITEMS_MAX[name]} items`)
  }
  let units = 0
  for (const text of list) units += bounded(`an item of ${name}`, text).length
  if (units <= LIST_UNITS_MAX) return list
  throw new TooLarge(`${name} has more than ${LIST_UNITS_MAX} characters`)
}

function boundedMap(
  name: keyof typeof ITEMS_MAX,
  record: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> {
  boundedList(name, Object.keys(record))
  boundedList(name, Object.values(record))
  return new Map(Object.entries(record))
}
