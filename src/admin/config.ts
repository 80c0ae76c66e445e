import type { KeyStore } from '../auth/key-store.ts'
import { monotonicMs, wallMs } from '../clock.ts'
import type { LimitConfig, LimitFigures, Rate, Selectors, Snapshot } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'
import type { Principal } from '../exchange.ts'
import { getKey } from '../key-admin.ts'
import type { LimitStanding } from '../limit/standing.ts'
import type { LimitStore } from '../limit/store.ts'
import type { Problem } from '../load-config.ts'
import { ruleDigest } from '../policy/rule.ts'
import { compileNames } from '../policy/wildcard.ts'
import type { Reloaded } from '../reload.ts'
import { type AdminCall, type AdminHandler, AdminRefusal } from './call.ts'

/** What the admin API says of the configuration in force. */
export interface ConfigParts {
  readonly snapshot: () => Snapshot
  readonly limits: LimitStore
  readonly keys: () => Promise<KeyStore>
  /** Reads the file again; null where this process was given no file. */
  readonly reload: () => (() => Promise<Reloaded>) | null
}

/** Handlers of `limits.read`, `policies.read` and `config.reload`. */
export function configHandlers(parts: ConfigParts): Record<string, AdminHandler> {
  return {
    'limits.read': async (call) => ({ value: await limitsOf(call, parts) }),
    'policies.read': (call) => ({ value: policiesOf(call, parts.snapshot()) }),
    'config.reload': async (call) => ({ value: await reload(call, parts) }),
  }
}

/** Whether selectors are about any call of a tenant; null asks for all tenants. */
function concerns(selectors: Selectors | null, tenant: string | null): boolean {
  const tenants = selectors?.tenants ?? null
  return tenant === null || tenants === null || compileNames(tenants)(tenant)
}

// --- limits ---

async function limitsOf(call: AdminCall, parts: ConfigParts): Promise<object> {
  const tenant = call.tenant()
  const principal = await subjectOf(call, tenant, parts)
  const { limits } = parts
  const own = parts.snapshot().limits.filter((limit) => concerns(limit.for, tenant))
  return {
    store: limits.mode,
    limits: own.map((limit) => limitOf(limit, tenant)),
    state: principal === null ? null : await stateOf(principal, limits),
  }
}

/** Whose limits are asked for: a key, or a tenant as of a caller without key, roles and labels. */
async function subjectOf(
  { asked }: AdminCall,
  tenant: string | null,
  { keys }: ConfigParts,
): Promise<Principal | null> {
  const keyId = asked['key']
  if (typeof keyId !== 'string') return tenant === null ? null : principalOf({ tenant })
  const found = await getKey(await keys(), { keyId, tenant })
  if (found === null) throw new GovernorError('ADMIN_UNKNOWN', { detail: 'no such key' })
  const { tenant: owner, name: keyName, user, roles, labels } = found
  return principalOf({ tenant: owner, keyId, keyName, user, roles, labels })
}

function principalOf(known: Partial<Principal>): Principal {
  const nobody = { via: 'key', tenant: '', keyId: '', keyName: '', user: '', ip: '' } as const
  return { ...nobody, roles: [], labels: {}, ...known }
}

async function stateOf(principal: Principal, limits: LimitStore): Promise<object> {
  const now = { wallMs: wallMs(), monotonicMs: monotonicMs() }
  const standing = await limits.standing(principal, now)
  const { tenant, keyId } = principal
  return { tenant, key_id: keyId === '' ? null : keyId, limits: standing.map(standingOf) }
}

function standingOf({ override, state, someCalls }: LimitStanding): object {
  const { id, what, limit, remaining, resetMs } = state
  return { id, override, what, limit, remaining, reset_ms: resetMs, some_calls: someCalls }
}

function limitOf(limit: LimitConfig, tenant: string | null): object {
  const { id, per, timeZone, onStoreLoss } = limit
  const overrides = limit.overrides.filter((override) => concerns(override.for, tenant))
  return {
    id,
    per,
    ...figuresOf(limit),
    time_zone: timeZone,
    on_store_loss: onStoreLoss,
    narrowed: limit.for !== null,
    overrides: overrides.map(figuresOf),
  }
}

function figuresOf({ requests, burst, concurrent, tokens, cost }: LimitFigures): object {
  return {
    requests: rateOf(requests),
    burst,
    concurrent,
    tokens: rateOf(tokens),
    cost_nano_usd: rateOf(cost),
  }
}

function rateOf(rate: Rate | null): object | null {
  return rate && { count: rate.count, window_ms: rate.windowMs, calendar: rate.calendar }
}

// --- policies ---

function policiesOf(call: AdminCall, snapshot: Snapshot): object {
  const tenant = call.tenant()
  const { digest, defaults, exceptions, candidate } = snapshot
  const { decision, onError, uninspectable } = defaults
  const nowMs = wallMs()
  const shown = exceptions.filter((exception) => concerns(exception.for, tenant))
  return {
    digest,
    defaults: { decision, on_error: onError, uninspectable },
    policies: rulesOf(snapshot, tenant),
    exceptions: shown.map(({ id, policy, reason, approvedBy, expiresMs }) => ({
      id,
      policy,
      reason,
      approved_by: approvedBy,
      expires: new Date(expiresMs).toISOString(),
      ended: nowMs >= expiresMs,
    })),
    candidate: candidate && { digest: candidate.digest, policies: rulesOf(candidate, tenant) },
  }
}

/** Policies that can be about calls of the tenant, in the order of the file. */
function rulesOf(snapshot: Snapshot, tenant: string | null): object[] {
  const about = snapshot.policies.filter((policy) => {
    // What a `require` demands is of every tenant that its `for` is about.
    const own = policy.verb === 'require' || concerns(policy.selectors, tenant)
    return own && concerns(policy.for, tenant)
  })
  return about.map((policy) => {
    const { id, verb, mode, message } = policy
    return { id, verb, mode, digest: ruleDigest(policy, snapshot), message }
  })
}

// --- reload ---

async function reload(call: AdminCall, parts: ConfigParts): Promise<object> {
  const run = parts.reload()
  if (run === null) {
    throw new GovernorError('ADMIN_CONFLICT', { detail: 'this process was started without a file' })
  }
  await call.record()
  const reloaded = await run()
  if (!reloaded.ok) {
    const problems = reloaded.problems.map(problemOf)
    const detail = problems.length === 1 ? '1 problem' : `${problems.length} problems`
    throw new AdminRefusal('CONFIG_INVALID', { detail }, { problems })
  }
  const { digest, changed, notes, deferred } = reloaded
  return { digest, changed, notes: notes.map(problemOf), deferred }
}

function problemOf({ file, line, column, path, message }: Problem): object {
  return { file, line, column, path, message }
}
