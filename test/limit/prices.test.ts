import t from 'tap'

import { readPriceTable } from '../../src/config/price-table.ts'
import type { PriceConfig } from '../../src/config/snapshot.ts'
import { costNanoUsd, PriceBook } from '../../src/limit/prices.ts'

function price(input: number, output: number): PriceConfig {
  return {
    inputPico: input,
    outputPico: output,
    cachedPico: input / 10,
    reasoningPico: output * 2,
    batchInputPico: input / 2,
    batchOutputPico: output / 2,
  }
}

const ONE = price(1_000_000, 2_000_000)
const TWO = price(4_000_000, 8_000_000)
const NONE = { inputTokens: 0, outputTokens: 0, cachedTokens: null, reasoningTokens: null }

t.test('readPriceTable() reads every row of config/prices.json', async (t) => {
  const { date, models } = readPriceTable()
  t.match(date, /^\d{4}-\d{2}-\d{2}$/)
  t.ok(Object.keys(models).length > 30)
  t.strictSame(models['gpt-4o'], {
    inputPico: 2_500_000,
    outputPico: 10_000_000,
    cachedPico: 1_250_000,
    reasoningPico: 10_000_000,
    batchInputPico: 1_250_000,
    batchOutputPico: 5_000_000,
  })
  const book = new PriceBook({ unknown: 'deny', models: {} }, models, {})
  for (const name of [
    'claude-sonnet-4-5-20250929',
    'claude-sonnet-4-20250514',
    'o4-mini',
    'gpt-5',
  ]) {
    t.ok(book.of(name), `${name} is still asked for, and a limit on cost refuses what has no price`)
  }
  for (const [name, row] of Object.entries(models)) {
    t.equal(name, name.toLowerCase())
    t.ok(Object.values(row).every((value) => Number.isSafeInteger(value)))
    t.ok(row.inputPico > 0 && row.cachedPico <= row.inputPico, name)
  }
})

t.test('PriceBook.of() finds a model by each of its names, the own prices first', async (t) => {
  const book = new PriceBook(
    { unknown: 'deny', models: { 'GPT-4o-Mini': TWO, 'home-*-x': TWO, 'ft:gpt-4o:*': TWO } },
    { 'gpt-4o': ONE, 'gpt-4o-mini': ONE, constructor2: ONE },
    { smart: 'openai/gpt-4o' },
  )
  const found = (name: string) => book.of(name)
  for (const name of ['gpt-4o', 'GPT-4o', 'openai/gpt-4o', 'a/b/gpt-4o', 'smart', 'Smart']) {
    t.equal(found(name), ONE, name)
  }
  t.equal(found('gpt-4o-2024-08-06'), ONE)
  t.equal(found('gpt-4o-latest'), ONE)
  t.equal(found('gpt-4o-mini-2024-07-18'), TWO)
  t.equal(found('home-made-x'), TWO)
  t.equal(found('home--x'), TWO)
  t.equal(found('home-x'), null, 'the star does not share a letter with what is around it')
  t.equal(found('ft:gpt-4o:acme::1'), TWO)
  t.equal(found('ft:gpt-4.1:acme::1'), null, 'a fine-tune costs more than its base')
  for (const name of ['', 'gpt-4o-2024', 'toString', '__proto__', 'x'.repeat(300)]) {
    t.equal(found(name), null, name)
  }
})

t.test('PriceBook.dearest() is null when one model has no price', async (t) => {
  const book = new PriceBook({ unknown: 'deny', models: { a: ONE, b: TWO } }, {}, {})
  t.equal(book.dearest(['a', 'b']), TWO)
  t.equal(book.dearest(['b', 'a']), TWO)
  t.equal(book.dearest(['a', 'c']), null)
  t.equal(book.dearest([]), null)
})

t.test('costNanoUsd() counts in integers, up to a bound', async (t) => {
  t.equal(costNanoUsd(ONE, { ...NONE, inputTokens: 1, outputTokens: 1 }), 3_000)
  t.equal(costNanoUsd(price(1, 1), { ...NONE, inputTokens: 1 }), 1, 'rounded up')
  const usage = { inputTokens: 1000, outputTokens: 100, cachedTokens: 400, reasoningTokens: 50 }
  t.equal(costNanoUsd(ONE, usage), 600_000 + 40_000 + 100_000 + 200_000)
  t.equal(costNanoUsd(ONE, { ...usage, serviceTier: 'flex' }), 500_000 + 100_000)
  const odd = { inputTokens: 10, outputTokens: 0, cachedTokens: 99, reasoningTokens: 99 }
  t.equal(costNanoUsd(ONE, odd), 1_000, 'never more cached than there was')
  const huge = { ...NONE, inputTokens: Number.MAX_SAFE_INTEGER, outputTokens: 1e15 }
  t.equal(costNanoUsd(price(1e10, 1e10), huge), 1e15)
})
