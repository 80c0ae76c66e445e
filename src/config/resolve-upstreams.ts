import { dirname, resolve } from 'node:path'

import type { Report } from './report.ts'
import { readPem } from './resolve-auth.ts'
import type { FileValue } from './resolve.ts'
import type { GroupConfig, Selectors, Snapshot, UpstreamConfig } from './snapshot.ts'
import { quote } from './source.ts'
import { wildcard } from './wildcard.ts'

type Written = FileValue['upstreams'][number]

/** What holds in a group where nothing is said; the defaults of the schema. */
const RETRY = {
  attempts: 2,
  on: [429, 502, 503, 504],
  waitMsMax: 2000,
  budget: 0.2,
  maybeBilled: false,
}
const BREAKER = { failures: 5, openMs: 5000 }

/** Dialects whose calls name their model in the body. */
const IN_BODY: ReadonlySet<string> = new Set(['openai', 'anthropic', 'ollama'])

/** What an upstream says about its failures and its size; keys that say nothing are absent. */
export function careOf(
  upstream: Written,
  at: readonly (string | number)[],
  report: Report,
): Partial<UpstreamConfig> {
  const { retry, breaker, concurrency, timeouts, fallback, dialect } = upstream
  const group = groupOf(upstream)
  for (const key of ['priority', 'weight'] as const) {
    const message =
      'Only in a group: give the upstreams that stand in for each other the same `group`'
    report.check([...at, key], group !== undefined || upstream[key] === null, message)
  }
  const message = `Not for "${dialect}", whose calls name the model in their path: use a \`group\``
  report.check([...at, 'fallback'], fallback === null || IN_BODY.has(dialect), message)
  const grouped = group !== undefined
  return {
    ...(grouped && { group, retry: RETRY, breaker: BREAKER }),
    ...(retry !== null && {
      retry: {
        attempts: retry.attempts,
        on: retry.on,
        waitMsMax: retry.wait_max,
        budget: retry.budget,
        maybeBilled: retry.maybe_billed,
      },
    }),
    ...(breaker !== null && { breaker: { failures: breaker.failures, openMs: breaker.open } }),
    ...(concurrency !== null && {
      concurrency: {
        calls: concurrency.calls,
        queue: concurrency.queue,
        waitMsMax: concurrency.wait_max,
      },
    }),
    ...(fallback !== null && { fallback }),
    ...(timeouts !== null && {
      timeouts: {
        connectMs: timeouts.connect,
        firstByteMs: timeouts.first_byte,
        idleMs: timeouts.idle,
      },
    }),
  }
}

/** The certificates of `ca_file`; what is wrong with the file is reported. */
export function caOf(
  { ca_file: file, url }: Written,
  context: Parameters<typeof readPem>[1],
): Pick<UpstreamConfig, 'ca'> {
  if (file === null) return {}
  const { report, at, options } = context
  const message = 'Only with an `https:` URL: nothing else has a certificate'
  report.check([...at, 'ca_file'], /^https:/i.test(url) || url.includes('${'), message)
  const pem = readPem(file, context, 'ca_file')
  return pem === null ? {} : { ca: { file: resolve(dirname(options.file), file), pem } }
}

function groupOf({ group, priority, weight }: Written): GroupConfig | undefined {
  if (group === null) return undefined
  return { name: group, priority: priority ?? 0, weight: weight ?? 1 }
}

type Grouping = Pick<Snapshot, 'policies' | 'limits' | 'exceptions'>

/**
 * One permit is good for every member of a group, so that nothing that was decided may depend on which
 * of them it is: they speak alike, and whatever names upstreams names all of a group or none.
 */
export function checkGroups(
  upstreams: readonly UpstreamConfig[],
  snapshot: Grouping,
  report: Report,
): void {
  const groups = new Map<string, UpstreamConfig[]>()
  upstreams.forEach((upstream, index) => {
    if (upstream.group === undefined) return
    const members = groups.get(upstream.group.name) ?? []
    groups.set(upstream.group.name, [...members, upstream])
    const first = members[0] ?? upstream
    for (const key of ['dialect', 'usage'] as const) {
      const message = `Upstreams of a group have the same ${key}, and ${quote(first.name)} has "${first[key]}"`
      report.check(['upstreams', index, 'group'], upstream[key] === first[key], message)
    }
  })
  if (groups.size === 0) return
  for (const { at, selectors } of selectorsOf(snapshot)) {
    checkNames([...at, 'upstreams'], selectors?.upstreams ?? null, { groups, report })
    const isBlind = !/upstream/.test(selectors?.when ?? '')
    const message =
      'An expression about the upstream cannot tell members of a `group` apart: use `upstreams: [...]` with all of them'
    report.check(at, isBlind, message)
  }
}

function checkNames(
  at: readonly (string | number)[],
  names: readonly string[] | null,
  { groups, report }: { groups: ReadonlyMap<string, UpstreamConfig[]>; report: Report },
): void {
  if (names === null) return
  for (const [group, members] of groups) {
    const named = members.filter(({ name }) => names.some((each) => wildcard(each, name)))
    const missing = members.filter((each) => !named.includes(each)).map(({ name }) => name)
    const message = `Names some upstreams of the group ${quote(group)}, which stand in for each other: name ${missing.map(quote).join(', ')} too, or none`
    report.check([...at], named.length === 0 || missing.length === 0, message)
  }
}

interface Placed {
  readonly at: readonly (string | number)[]
  readonly selectors: Selectors | null
}

function selectorsOf({ policies, limits, exceptions }: Grouping): Placed[] {
  return [
    ...policies.flatMap((policy, index): Placed[] => [
      { at: ['policies', index, 'for'], selectors: policy.for },
      { at: ['policies', index, policy.verb], selectors: policy.selectors },
    ]),
    ...limits.flatMap((limit, index): Placed[] => [
      { at: ['limits', index, 'for'], selectors: limit.for },
      ...limit.overrides.map((override, place) => ({
        at: ['limits', index, 'overrides', place, 'for'],
        selectors: override.for,
      })),
    ]),
    ...exceptions.map((each, index) => ({
      at: ['exceptions', index, 'for'],
      selectors: each.for,
    })),
  ]
}
