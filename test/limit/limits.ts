import type { LimitConfig, Rate, Selectors } from '../../src/config/snapshot.ts'
import type { Principal } from '../../src/exchange.ts'
import type { LimitCall, Matches } from '../../src/limit/bucket.ts'

/** Makes limits and calls from the few fields a test cares for. */

export function rate(count: number, windowMs: number, calendar: Rate['calendar'] = null): Rate {
  return { count, windowMs, calendar }
}

export function limitOf(some: Partial<LimitConfig>): LimitConfig {
  return {
    id: 'key-rpm',
    per: 'key',
    for: null,
    timeZone: 'UTC',
    overrides: [],
    requests: null,
    burst: null,
    concurrent: null,
    tokens: null,
    cost: null,
    reserveOutput: 1024,
    onStoreLoss: 'local_share',
    ...some,
  }
}

export function selecting(some: Partial<Selectors>): Selectors {
  return {
    tenants: null,
    keys: null,
    users: null,
    roles: null,
    labels: null,
    operations: null,
    models: null,
    upstreams: null,
    input: null,
    uninspectable: null,
    when: null,
    ...some,
  }
}

/** A plain matcher: one model or operation of the selectors is the call's. */
export const matches: Matches = ({ models, operations, labels }, call) =>
  (models === null || call.models.some((model) => models.includes(model))) &&
  (operations === null || operations.includes(call.operation)) &&
  (labels === null || call.principal.labels['tier'] === labels['tier'])

export function callBy(
  some: Partial<Principal> = {},
  models: readonly string[] = ['m'],
): LimitCall {
  const principal: Principal = {
    via: 'key',
    tenant: 'acme',
    keyId: 'key-1',
    keyName: 'ci',
    user: 'ada',
    roles: [],
    labels: {},
    ip: '192.0.2.1',
    ...some,
  }
  return { principal, operation: 'chat', models, upstream: 'openai' }
}

/** The same instant on both clocks, `ms` after some Tuesday noon. */
export function at(ms: number): { wallMs: number; monotonicMs: number } {
  return { wallMs: Date.UTC(2026, 10, 24, 12) + ms, monotonicMs: 1_000 + ms }
}
