import { Gauge, Registry } from 'prom-client'

import { Counter, Histogram, register } from './series.ts'

/**
 * Every metric of one running Governor. Labels come from closed sets, never from what a client
 * typed.
 */
export type Metrics = ReturnType<typeof createMetrics>

/** How the connections to one server are at the moment. */
export interface PoolState {
  readonly open: number
  /** Those of them on which an answer is waited for. */
  readonly inUse: number
  /** What waits for a connection, or behind others on one. */
  readonly waiting: number
}

/** The state of connections that take one question after another; `asked` were not answered yet. */
export function sharedPool(open: number, asked: number): PoolState {
  const inUse = Math.min(open, asked)
  return { open, inUse, waiting: asked - inUse }
}

const TOTAL_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 600]
const OVERHEAD_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25]
const STAGE_SECONDS = [0.00001, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.1, 1, 10]
const FIRST_BYTE_SECONDS = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60]

/** Makes metrics in one registry, under the `governor_` prefix. */
class Maker {
  readonly registry = new Registry()

  counter<Label extends string = never>(
    name: string,
    help: string,
    labelNames: readonly Label[] = [],
  ): Counter<Label> {
    const metric = new Counter<Label>(`governor_${name}`, help, labelNames)
    register(this.registry, metric)
    return metric
  }

  gauge<Label extends string = never>(name: string, help: string, labelNames: Label[] = []) {
    const registers = [this.registry]
    return new Gauge<Label>({ name: `governor_${name}`, help, labelNames, registers })
  }

  histogram<Label extends string = never>(
    [name, help]: [string, string],
    boundsSeconds: readonly number[],
    label?: string,
  ): Histogram<Label> {
    const metric = new Histogram<Label>(`governor_${name}`, help, boundsSeconds, label)
    register(this.registry, metric)
    return metric
  }
}

/** Series that are there before anything happened, so that the first increase is seen as one. */
function begunAtZero<Label extends string>(
  counter: Counter<Label>,
  series: readonly Readonly<Record<Label, string>>[],
): Counter<Label> {
  for (const labels of series) counter.inc(labels, 0)
  return counter
}

/** A fresh set with its own registry, so that several Governors fit in one process. */
export function createMetrics() {
  const make = new Maker()
  return {
    registry: make.registry,
    ...callMetrics(make),
    ...stateMetrics(make),
    ...ownershipMetrics(make),
  }
}

function callMetrics(make: Maker) {
  return {
    requests: make.counter('requests_total', 'Requests answered, by code (ok or an error code)', [
      'operation',
      'code',
    ]),
    decisions: make.counter(
      'decisions_total',
      'Decisions, by the policy that made them, or would have in its mode',
      ['decision', 'policy', 'mode'],
    ),
    candidateDecisions: make.counter(
      'candidate_decisions_total',
      'Decisions of a candidate, beside ours',
      ['result', 'policy'],
    ),
    exceptionUses: make.counter(
      'exception_uses_total',
      'Decisions in which an exception lifted a policy',
      ['exception'],
    ),
    requestSeconds: make.histogram<string>(
      ['request_duration_seconds', 'From the first header to the last byte of the answer'],
      TOTAL_SECONDS,
      'operation',
    ),
    overheadSeconds: make.histogram(
      ['overhead_duration_seconds', 'Time spent in Governor before the upstream is called'],
      OVERHEAD_SECONDS,
    ),
    stageSeconds: make.histogram<string>(
      ['stage_duration_seconds', 'Time spent in one stage'],
      STAGE_SECONDS,
      'stage',
    ),
    firstByteSeconds: make.histogram(
      ['time_to_first_byte_seconds', 'From forwarding to the first byte of the upstream answer'],
      FIRST_BYTE_SECONDS,
    ),
    tokens: make.counter('tokens_total', 'Tokens as the upstream reported them', ['direction']),
    cost: make.counter('cost_usd_total', 'Cost of calls whose model has a price'),
    detectorRequests: make.counter(
      'detector_requests_total',
      'Questions to detectors that are services, by how they ended',
      ['detector', 'result'],
    ),
    unusualCalls: make.counter(
      'unusual_calls_total',
      'Calls unlike those their key made before, by what was unusual',
      ['reason'],
    ),
    limitRefusals: make.counter('limit_refusals_total', 'Calls refused by a limit', ['limit']),
  }
}

function stateMetrics(make: Maker) {
  return {
    limitStoreMode: make.gauge('limit_store_mode', '1 for the mode the limit store is in', [
      'mode',
    ]),
    inflightRequests: make.gauge('inflight_requests', 'Requests being handled'),
    inflightBytes: make.gauge('inflight_bytes', 'Bytes of request bodies held'),
    spooledBytes: make.gauge('spooled_bytes', 'Bytes of large forms on disk'),
    streamsOpen: make.gauge('streams_open', 'Event streams being relayed'),
    commitSeconds: make.histogram(
      ['audit_commit_duration_seconds', 'One durable commit of the audit log'],
      OVERHEAD_SECONDS,
    ),
    unshippedEntries: make.gauge(
      'audit_unshipped_entries',
      'Entries that wait to be shipped; 0 while nothing ships',
    ),
    unshippedAgeSeconds: make.gauge(
      'audit_unshipped_age_seconds',
      'Age of the oldest of them; 0 while nothing ships',
    ),
    auditForks: make.gauge('audit_forks', 'Chains that stand elsewhere in Postgres; page on any'),
    auditDeadLetters: make.counter(
      'audit_dead_letters_total',
      'Entries Postgres could keep only as bytes',
    ),
    auditBytes: make.gauge(
      'audit_bytes',
      'Bytes the log takes; calls are refused at audit.local_max',
    ),
    auditLost: make.counter('audit_lost_total', 'Entries that could not be written'),
    cacheRequests: make.counter('cache_requests_total', 'Look-ups in a bounded cache', [
      'cache',
      'result',
    ]),
    keysAgeSeconds: make.gauge(
      'keys_age_seconds',
      'Since the copy of the keys was compared with PostgreSQL; 0 elsewhere',
    ),
    issuerFetches: make.counter('issuer_fetches_total', 'Fetches of the keys of an issuer', [
      'issuer',
      'result',
    ]),
    poolConnections: make.gauge('pool_connections', 'Connections by state', ['pool', 'state']),
    upstreamErrors: make.counter('upstream_errors_total', 'Upstream failures by kind', [
      'upstream',
      'fault',
    ]),
    upstreamRetries: make.counter('upstream_retries_total', 'Tries that were followed by another', [
      'upstream',
    ]),
    modelFallbacks: make.counter('model_fallbacks_total', 'Calls that went on with another model', [
      'upstream',
    ]),
    breakerState: make.gauge('breaker_state', '0 closed, 0.5 half-open, 1 open', ['upstream']),
    configReloads: begunAtZero(
      make.counter('config_reloads_total', 'Configuration loads by result', ['result']),
      [{ result: 'ok' }, { result: 'refused' }],
    ),
    configSnapshot: make.gauge('config_snapshot_info', '1 for the snapshot in force', ['digest']),
    exceptionEnd: make.gauge('exception_end_time_seconds', 'When an exception ends, Unix time', [
      'exception',
    ]),
    eventLoopDelay: make.gauge(
      'event_loop_delay_seconds',
      'Event loop delay since the last scrape',
      ['quantile'],
    ),
  }
}

function ownershipMetrics(make: Maker) {
  return {
    ownershipRecords: make.gauge('ownership_records', 'Things that tenants are known to own'),
    ownershipLookups: make.counter(
      'ownership_lookups_total',
      'Ids that were looked for: somebody’s (hit) or nobody’s (miss)',
      ['result'],
    ),
    ownershipExpired: make.counter(
      'ownership_expired_total',
      'Records removed because they had expired',
    ),
  }
}
