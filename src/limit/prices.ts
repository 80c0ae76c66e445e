import type { PriceConfig, PricesConfig } from '../config/snapshot.ts'
import type { Usage } from '../exchange.ts'

/** More than any call can cost, nano-USD; sums of it stay exact integers. */
const COST_NANO_MAX = 1e15
/** No context is larger; a provider that reports more is not believed. */
const TOKENS_MAX = 1_000_000_000
/** `gpt-4o-2024-08-06`, `claude-opus-5-20260801`, `gpt-4o-latest`: a version of the plain name. */
const VERSION = /-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$/
const NAME_CHARS_MAX = 256
const CACHED_MAX = 1_000

/**
 * What models cost: the file's own prices first, then those that come with Governor. `count` is told of each
 * look-up whether the name was looked up before.
 */
export class PriceBook {
  /** Whether a call without a price may pass a limit on cost. */
  readonly allowsUnknown: boolean
  readonly #own: Readonly<Record<string, PriceConfig>>
  readonly #patterns: readonly { readonly is: (name: string) => boolean; price: PriceConfig }[]
  readonly #cache = new Map<string, PriceConfig | null>()
  readonly #builtIn: Readonly<Record<string, PriceConfig>>
  readonly #aliases: Readonly<Record<string, string>>
  readonly #count: (result: 'hit' | 'miss') => void

  constructor(
    { unknown, models }: PricesConfig,
    builtIn: Readonly<Record<string, PriceConfig>>,
    aliases: Readonly<Record<string, string>>,
    count: (result: 'hit' | 'miss') => void = () => {},
  ) {
    this.#count = count
    const entries = Object.entries(models).map(([name, price]) => [name.toLowerCase(), price])
    this.allowsUnknown = unknown === 'allow'
    this.#own = Object.fromEntries(entries) as Record<string, PriceConfig>
    this.#patterns = Object.entries(this.#own)
      .filter(([name]) => name.includes('*'))
      .map(([name, price]) => ({ is: wildcard(name), price }))
    this.#builtIn = builtIn
    this.#aliases = lowerKeys(aliases)
  }

  /**
   * The price of a model as a call or an answer names it: of the name itself, of what it is an alias
   * of, without a `provider/` before it, without a date after it. A fine-tune costs more than its
   * base, so it has only the price given for it. Null when there is none.
   */
  of(model: string): PriceConfig | null {
    if (model.length > NAME_CHARS_MAX) return null
    let price = this.#cache.get(model)
    this.#count(price === undefined ? 'miss' : 'hit')
    if (price !== undefined) return price
    price = this.#look(model)
    // Clients choose the names: what is full begins anew.
    if (this.#cache.size >= CACHED_MAX) this.#cache.clear()
    this.#cache.set(model, price)
    return price
  }

  #look(model: string): PriceConfig | null {
    for (const name of namesOf(model.toLowerCase(), this.#aliases)) {
      const price = this.#find(name)
      if (price !== null) return price
    }
    return null
  }

  /** Of several models the dearest that has a price; null when one has none. */
  dearest(models: readonly string[]): PriceConfig | null {
    let dearest: PriceConfig | null = null
    for (const model of models) {
      const price = this.of(model)
      if (price === null) return null
      if (dearest === null || price.outputPico + price.inputPico > sum(dearest)) dearest = price
    }
    return dearest
  }

  #find(name: string): PriceConfig | null {
    if (Object.hasOwn(this.#own, name)) return this.#own[name] ?? null
    for (const { is, price } of this.#patterns) if (is(name)) return price
    return Object.hasOwn(this.#builtIn, name) ? (this.#builtIn[name] ?? null) : null
  }
}

function sum({ inputPico, outputPico }: PriceConfig): number {
  return inputPico + outputPico
}

function lowerKeys(map: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(map).map(([key, value]) => [key.toLowerCase(), value])
  return Object.fromEntries(entries) as Record<string, string>
}

function* namesOf(model: string, aliases: Readonly<Record<string, string>>): Generator<string> {
  yield model
  const target = Object.hasOwn(aliases, model) ? aliases[model]?.toLowerCase() : undefined
  if (target !== undefined) yield target
  const name = target ?? model
  const plain = name.slice(name.lastIndexOf('/') + 1)
  if (plain !== name) yield plain
  if (VERSION.test(plain)) yield plain.replace(VERSION, '')
}

/** A test for a pattern in which `*` stands for anything; linear, as the parts are looked for in turn. */
function wildcard(pattern: string): (name: string) => boolean {
  const [first = '', ...rest] = pattern.split('*')
  const last = rest.pop() ?? ''
  return (name) => {
    if (!name.startsWith(first) || name.length < first.length + last.length) return false
    let at = first.length
    for (const part of rest) {
      const found = name.indexOf(part, at)
      if (found === -1) return false
      at = found + part.length
    }
    return name.endsWith(last) && name.length - last.length >= at
  }
}

/** What is counted of a call: null is not known. */
export type Counted = Omit<Usage, 'responseModel' | 'responseId'>

/**
 * Cost in nano-USD, rounded up: tokens times pico-USD, in integers. Cached tokens are part of the
 * input and reasoning tokens of the output, as every dialect's usage is told here. The tiers `flex`
 * and `batch` have the batch rate, in which a cache makes no difference.
 */
export function costNanoUsd(price: PriceConfig, counted: Counted): number {
  const input = bounded(counted.inputTokens)
  const output = bounded(counted.outputTokens)
  if (counted.serviceTier === 'flex' || counted.serviceTier === 'batch') {
    return capped(nano(input, price.batchInputPico) + nano(output, price.batchOutputPico))
  }
  const cached = Math.min(input, bounded(counted.cachedTokens))
  const reasoning = Math.min(output, bounded(counted.reasoningTokens))
  return capped(
    nano(input - cached, price.inputPico) +
      nano(cached, price.cachedPico) +
      nano(output - reasoning, price.outputPico) +
      nano(reasoning, price.reasoningPico),
  )
}

function bounded(tokens: number | null): number {
  return Math.min(TOKENS_MAX, tokens ?? 0)
}

/** Whole thousands apart from the rest, so that no product leaves the exact integers. */
function nano(tokens: number, pico: number): number {
  const rest = tokens % 1000
  return ((tokens - rest) / 1000) * pico + Math.ceil((rest * pico) / 1000)
}

function capped(cost: number): number {
  return Math.min(COST_NANO_MAX, cost)
}
