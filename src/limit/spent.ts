import type { GovernorError } from '../errors.ts'
import type { Meter, Spent, Trail, Usage } from '../exchange.ts'
import { tokensOfBytes } from '../nouns/token-estimate.ts'
import type { OutputCounter } from './output-counter.ts'
import { type Counted, costNanoUsd, type PriceBook } from './prices.ts'

/**
 * What a call took, from what the provider reported, else from what was counted here. Null when it
 * took nothing, or when nobody counted. A call the upstream refused or failed before it answered is
 * free. One whose client left is charged what had been produced; where that cannot be seen, because
 * the answer was to come whole, what was set aside for it.
 */
export function spentBy(trail: Trail, prices: PriceBook): Spent | null {
  const { usage, facts, counts } = trail
  if (!trail.forwarded || facts === null) return null
  if (usage !== null && (usage.inputTokens !== null || usage.outputTokens !== null)) {
    const reported = completed(trail, usage)
    const told = due(trail, reported)
    const tokens = (told.inputTokens ?? 0) + (told.outputTokens ?? 0)
    return { tokens, costNanoUsd: costOf(trail, told, prices), estimated: reported !== usage }
  }
  if (counts === null || isFree(trail)) return null
  const outputTokens =
    trail.upstreamStatus === 0 ? counts.outputTokensHidden : tokensOfBytes(counts.output.bytes)
  const { inputTokens } = counts
  const counted = { inputTokens, outputTokens, cachedTokens: null, reasoningTokens: null }
  return {
    tokens: inputTokens + outputTokens,
    costNanoUsd: costOf(trail, counted, prices),
    estimated: true,
  }
}

/**
 * Some providers report the prompt when a stream begins and the answer when it ends: of one that was
 * left in between, what was seen of the answer counts. A prompt takes some tokens, and so does text that
 * came: servers that report half of it, or 0, do not make them free.
 */
function completed({ ending, counts }: Trail, usage: Usage): Usage {
  if (counts === null) return usage
  const seen = tokensOfBytes(counts.output.bytes)
  const told = usage.outputTokens ?? 0
  const isLess = seen > told && (told === 0 || ending !== 'complete')
  const inputTokens = usage.inputTokens || counts.inputTokens
  const outputTokens = isLess ? seen : usage.outputTokens
  const isSame = inputTokens === usage.inputTokens && outputTokens === usage.outputTokens
  return isSame ? usage : { ...usage, inputTokens, outputTokens }
}

/** The prompt of a response that is fetched later was charged when it was made. */
function due({ owned, counts, route }: Trail, usage: Usage): Usage {
  if (counts === null || owned?.isAwaited !== true) return usage
  if (route!.endpoint.api !== 'responses.get') return usage
  return { ...usage, inputTokens: 0, cachedTokens: null }
}

function isFree({ upstreamStatus, ending, refusal }: Trail): boolean {
  if (upstreamStatus !== 0) return upstreamStatus >= 400
  return ending !== 'client_closed' && refusal?.code !== 'CLIENT_CLOSED'
}

function costOf(
  { usage, facts, route }: Trail,
  counted: Counted,
  prices: PriceBook,
): number | null {
  const answered = usage?.responseModel ?? null
  const asked = route?.pathModel == null ? facts!.models : [...facts!.models, route.pathModel]
  const price = (answered === null ? null : prices.of(answered)) ?? prices.dearest(asked)
  return price === null ? null : costNanoUsd(price, counted)
}

/** A meter that also counts what passes, for answers that end before they report. */
export class CountingMeter implements Meter {
  readonly #meter: Meter
  readonly #counter: OutputCounter

  constructor(meter: Meter, counter: OutputCounter) {
    this.#meter = meter
    this.#counter = counter
  }

  get complete(): boolean {
    return this.#meter.complete
  }

  get isOver(): boolean {
    return this.#meter.isOver === true
  }

  get usage(): Meter['usage'] {
    return this.#meter.usage
  }

  get failure(): GovernorError | null {
    return this.#meter.failure ?? null
  }

  headers(headers: Parameters<NonNullable<Meter['headers']>>[0]): void {
    this.#meter.headers?.(headers)
  }

  whole(body: Buffer): void {
    this.#meter.whole(body)
    if (!this.usage.outputTokens) this.#counter.push(body)
  }

  chunk(bytes: Buffer): Buffer {
    this.#counter.push(bytes)
    return this.#meter.chunk(bytes)
  }

  flush(): Buffer {
    return this.#meter.flush()
  }
}
