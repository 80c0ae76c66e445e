import { readFileSync } from 'node:fs'

import type { PriceConfig } from './snapshot.ts'
import { parsePrice } from './units.ts'

const FILE = new URL('../../config/prices.json', import.meta.url)

type Row = Readonly<Record<string, number | undefined>>

/** Prices by model in lower case, and the day they were collected. */
export interface PriceTable {
  readonly date: string
  readonly models: Readonly<Record<string, PriceConfig>>
}

/**
 * The prices that come with Governor: config/prices.json, USD per million tokens. Throws an Error
 * that names what is wrong with the file, which is a part of the program.
 */
export function readPriceTable(): PriceTable {
  const { date, models } = JSON.parse(readFileSync(FILE, 'utf8')) as {
    readonly date: string
    readonly models: Readonly<Record<string, Row>>
  }
  const rows = Object.entries(models).map(([model, row]) => [model, priceOf(model, row)])
  return { date, models: Object.fromEntries(rows) as Record<string, PriceConfig> }
}

function priceOf(model: string, row: Row): PriceConfig {
  const read = (name: string): number | null => {
    const value = row[name]
    return value === undefined ? null : pico(name, value)
  }
  const pico = (name: string, value: number | undefined): number => {
    const parsed = parsePrice(String(value))
    if (!parsed.ok) throw new Error(`prices.json: ${model}.${name}: expected ${parsed.expected}`)
    return parsed.value
  }
  return completePrice({
    input: pico('input', row['input']),
    output: pico('output', row['output']),
    cached: read('cached'),
    reasoning: read('reasoning'),
    batch_input: read('batch_input'),
    batch_output: read('batch_output'),
  })
}

/** Prices in pico-USD per token as written; null or absent where they follow from the first two. */
export interface WrittenPrice {
  readonly input: number
  readonly output: number
  readonly cached: number | null
  readonly reasoning: number | null
  readonly batch_input: number | null
  readonly batch_output: number | null
}

/** Fills in what is not written: cached as input, reasoning as output, batch at half. */
export function completePrice(written: WrittenPrice): PriceConfig {
  const { input, output } = written
  return {
    inputPico: input,
    outputPico: output,
    cachedPico: written.cached ?? input,
    reasoningPico: written.reasoning ?? output,
    batchInputPico: written.batch_input ?? half(input),
    batchOutputPico: written.batch_output ?? half(output),
  }
}

/** The batch rate of every provider whose prices are in the table; rounded against the caller. */
function half(pico: number): number {
  return Math.ceil(pico / 2)
}
