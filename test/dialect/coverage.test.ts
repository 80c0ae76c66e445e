import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'

import t from 'tap'

import type { Row } from '../../src/dialect/table.ts'
import { unformatted } from '../config/generated.ts'
import type { Answered } from '../support/client.ts'
import { type Entry, type InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'
import { claimsOf, TABLES } from './coverage.ts'
import { ENDPOINTS, endpointsFile } from './endpoints.ts'
import { sampleCall, samplePath } from './samples.ts'

t.setTimeout(180_000)

/** Goal: no endpoint of the tables can be reached without every control its line claims. */

const POLICIES = `
  - { id: everything, allow: { operations: ['*'], models: ['*'] } }
  - { id: no-model, deny: { models: ['denied-*'] } }
  - { id: no-text, deny: { input: { words: [zebra] } } }`
const LIMITS = '[{ id: once, per: key, for: { keys: [limited] }, requests: 1/1h }]'
const PLAIN = { model: 'some-model', text: 'hello' }

/** Calls under way together, so that their entries share commits. */
const AT_ONCE = 16

interface Call {
  readonly row: Row
  readonly streamed: boolean
  readonly wanted?: typeof PLAIN
  readonly key?: string
}

/** A call that passed: what its entries have to say. */
interface Passed extends Call {
  readonly name: string
  readonly id: string
}

interface Assert {
  ok(found: unknown, name: string): unknown
  equal(found: unknown, wanted: unknown, name: string): unknown
  strictSame(found: unknown, wanted: unknown, name: string): unknown
}

class Site {
  readonly #site: InProcess
  readonly #agent = new Agent({ keepAlive: true })
  readonly #dialect: string
  /** A key whose limit is used up. */
  readonly limited: string

  constructor(site: InProcess, dialect: string, limited: string) {
    this.#site = site
    this.limited = limited
    this.#dialect = dialect
  }

  call({ row, streamed, wanted = PLAIN, key }: Call): Promise<Answered> {
    const { body, headers } = sampleCall(row, wanted, streamed)
    const marks = this.#dialect === 'anthropic' ? { 'anthropic-version': '2023-06-01' } : {}
    return this.#site.send({
      method: row.method,
      path: samplePath(row, wanted.model, streamed),
      agent: this.#agent,
      ...(key !== undefined && { key }),
      headers: { ...headers, ...marks },
      ...(body !== undefined && { body }),
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

const code = ({ status, headers }: Answered) =>
  `${status} ${String(headers['x-governor-policy'] ?? headers['x-governor-code'] ?? '-')}`

for (const [dialect, rows] of Object.entries(TABLES)) {
  t.test(`every endpoint of ${dialect} is under every control it claims`, async (t) => {
    const sections = {
      dialect,
      policies: POLICIES,
      limits: LIMITS,
      defaults: '{ uninspectable: allow }',
      usage: dialect.endsWith('openai') ? ('ask' as const) : ('observe' as const),
    }
    const site = await startGovernor(t, sections)
    const limited = await site.createKey('limited')
    const calls = new Site(site, dialect, limited)
    const passed: Passed[] = []
    await until('the key that is limited to have used its limit', async () => {
      const { status } = await calls.call({ row: rows[0]!, streamed: false, key: limited })
      return status === 403 ? true : null
    })
    const all = rows.flatMap((row): Call[] => {
      const whole = { row, streamed: false }
      return claimsOf(row).streams ? [whole, { row, streamed: true }] : [whole]
    })
    for (let at = 0; at < all.length; at += AT_ONCE) {
      const some = all.slice(at, at + AT_ONCE)
      passed.push(...(await Promise.all(some.map((call) => checkCall(t, calls, call)))))
    }
    calls.close()
    await checkEntries(t, site, passed)
  })
}

/** All refusals of one endpoint, and the call that passes. */
async function checkCall(t: Assert, calls: Site, call: Call): Promise<Passed> {
  const { row, streamed } = call
  const { model, text } = claimsOf(row)
  const name = `${row.method} ${row.path}${streamed ? ' streamed' : ''}`
  const answer = await calls.call(call)
  const isAnswered = answer.status === 200 || answer.status === 404
  t.ok(isAnswered, `${name}: passes, ${isAnswered ? '' : answer.text}`)
  const refused: readonly (readonly [string, string, Partial<Call>, boolean])[] = [
    ['auth', '401 AUTH_KEY_INVALID', { key: 'sk-none' }, true],
    ['limit', '403 LIMIT_EXHAUSTED', { key: calls.limited }, true],
    ['model', '403 no-model', { wanted: { ...PLAIN, model: 'denied-model' } }, model !== '-'],
    ['text', '403 no-text', { wanted: { ...PLAIN, text: 'a zebra here' } }, text],
  ]
  for (const [control, wanted, more, isClaimed] of refused) {
    if (isClaimed)
      t.equal(code(await calls.call({ ...call, ...more })), wanted, `${name}: ${control}`)
  }
  return { ...call, name, id: String(answer.headers['x-governor-request-id']) }
}

async function checkEntries(t: Assert, site: InProcess, passed: readonly Passed[]): Promise<void> {
  const ids = new Set(passed.map(({ id }) => id))
  const entries = await until('all outcomes', () => {
    const found = site.entries().filter(({ requestId }) => ids.has(requestId))
    return found.length >= 2 * passed.length ? found : null
  })
  const byId = Map.groupBy(entries, ({ requestId }: Entry) => requestId)
  for (const { name, id, row, streamed } of passed) {
    const [decision, outcome] = byId.get(id)!.map(({ body }) => body)
    const { operation, api } = row.endpoint
    t.strictSame([decision?.['operation'], decision?.['api']], [operation, api], `${name}: audit`)
    const { usage, usageStreamed } = claimsOf(row)
    const isReported = typeof outcome?.['gen_ai.usage.input_tokens'] === 'number'
    t.strictSame(isReported, streamed ? usageStreamed : usage, `${name}: usage`)
  }
}

t.test('the printed table is what the tables say', async (t) => {
  const printed = unformatted(readFileSync(ENDPOINTS, 'utf8'))
  t.equal(printed, unformatted(endpointsFile()), 'run test/dialect/endpoints.ts --write')
})
