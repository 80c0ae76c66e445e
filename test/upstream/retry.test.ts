import t from 'tap'

import { GovernorError } from '../../src/errors.ts'
import type { Answer } from '../../src/upstream/call.ts'
import { upstreamError } from '../../src/upstream/fault.ts'
import { hasFailed, mayRepeat, RetryBudget, retryWaitMs } from '../../src/upstream/retry.ts'

/** Goal: nothing is done twice that may have been done, nothing is asked more often than the budget says. */

const OPTIONS = {
  attempts: 2,
  on: [429, 503],
  waitMsMax: 2000,
  budget: 0.2,
  maybeBilled: false,
}

function answered(status: number, headers: Answer['headers'] = {}) {
  const answer: Answer = { status, headers, whole: null, pipe() {}, resume() {}, abort() {} }
  return { answer }
}

function failed(code: string, more: object = {}) {
  return upstreamError(Object.assign(new Error(code), { code, ...more }))
}

function may(outcome: Parameters<typeof mayRepeat>[0], maybeBilled = false): boolean {
  return mayRepeat(outcome, 'chat', { ...OPTIONS, maybeBilled })
}

function wait(attempt: number, random: number, headers: Answer['headers'] = {}): number | null {
  return retryWaitMs(answered(429, headers), attempt, { waitMsMax: 2000, random })
}

t.test('only what nobody worked on is asked again', async (t) => {
  for (const [code, more] of [
    ['ECONNREFUSED', { syscall: 'connect' }],
    ['EMFILE', { syscall: 'connect' }],
    ['EADDRNOTAVAIL', { syscall: 'connect' }],
    ['ENOTFOUND', { syscall: 'getaddrinfo' }],
    ['UND_ERR_CONNECT_TIMEOUT', {}],
    ['CERT_HAS_EXPIRED', {}],
  ] as const) {
    t.equal(may(failed(code, more)), true, code)
  }
  for (const [code, more] of [
    ['UND_ERR_HEADERS_TIMEOUT', {}],
    ['UND_ERR_SOCKET', {}],
    ['ECONNRESET', { syscall: 'read' }],
    ['EHOSTUNREACH', { syscall: 'read' }],
    ['ETIMEDOUT', { syscall: 'read' }],
  ] as const) {
    t.equal(may(failed(code, more)), false, code)
  }
  t.equal(may(failed('UND_ERR_SOCKET'), true), true, 'where the file accepts two bills')
  t.equal(may({ error: new GovernorError('CLIENT_CLOSED') }, true), false)
  t.equal(may({ error: new GovernorError('UPSTREAM_REDIRECT') }, true), false)
  t.strictSame(
    [200, 400, 401, 429, 500, 503].filter((status) => may(answered(status))),
    [429, 503],
  )
})

t.test('what makes something is not asked again unless it was refused', async (t) => {
  for (const operation of ['batches', 'files.write', 'stored.write', 'fine_tuning'] as const) {
    t.equal(mayRepeat(answered(503), operation, OPTIONS), false)
    t.equal(mayRepeat(answered(429), operation, OPTIONS), true)
    const lost = failed('UND_ERR_SOCKET')
    t.equal(mayRepeat(lost, operation, { ...OPTIONS, maybeBilled: true }), false)
    t.equal(mayRepeat(failed('ECONNREFUSED'), operation, OPTIONS), true)
  }
})

t.test(
  'the wait is any time up to a bound that doubles, never less than was asked for',
  async (t) => {
    t.strictSame([wait(1, 0), wait(1, 0.5), wait(1, 1)], [0, 125, 250])
    t.strictSame([wait(2, 1), wait(3, 1), wait(4, 1), wait(5, 1)], [500, 1000, 2000, 2000])
    t.equal(wait(1, 0, { 'retry-after': '2' }), 2000)
    t.equal(wait(1, 0, { 'retry-after': '3' }), null)
    t.equal(wait(1, 0, { 'retry-after-ms': '30', 'retry-after': '60' }), 30)
    t.equal(wait(5, 0.5, { 'retry-after-ms': '30.5' }), 1000)
    for (const odd of ['Wed, 21 Oct 2099 07:28:00 GMT', '-1', 'soon', '1e9', '']) {
      t.equal(wait(1, 0, { 'retry-after': odd }), null, `"${odd}"`)
    }
    t.equal(wait(1, 0, { 'retry-after': ['1', '2'] }), null)
  },
)

t.test('the budget is a stock of ten and a share of the calls', async (t) => {
  const budget = new RetryBudget(0.25)
  const taken = () => {
    let count = 0
    while (budget.take()) count += 1
    return count
  }
  t.equal(taken(), 10)
  for (let call = 0; call < 20; call++) budget.call()
  t.equal(taken(), 5)
  for (let call = 0; call < 1000; call++) budget.call()
  t.equal(taken(), 10, 'never more than ten at once')
})

t.test('a breaker counts what the upstream did, not what it was asked', async (t) => {
  const blamed = [200, 400, 404, 429, 500, 501, 502, 503, 529].filter((s) => hasFailed(answered(s)))
  t.strictSame(blamed, [500, 502, 503, 529])
  t.equal(hasFailed(failed('ECONNREFUSED')), true)
  t.equal(hasFailed(failed('UND_ERR_HEADERS_TIMEOUT')), true)
  t.equal(hasFailed({ error: new GovernorError('CLIENT_CLOSED') }), false)
  t.equal(hasFailed({ error: new GovernorError('UPSTREAM_BUSY') }), false)
})
