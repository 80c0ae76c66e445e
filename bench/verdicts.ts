import type { AuditCost } from './audit.ts'
import type { Floods } from './floods.ts'
import type { Authenticating } from './keys.ts'
import type { Level, Overhead } from './overhead.ts'
import type { Policies } from './policies.ts'
import type { SharedLimits } from './redis.ts'
import type { Replayed } from './replay.ts'
import type { Sessions } from './sessions.ts'
import { bytesPerStream, type Streams } from './streams.ts'

/** The promises a run is held against. */

export interface Verdict {
  readonly what: string
  readonly measured: string
  readonly target: string
  /** Null when the run cannot tell: its control was off. */
  readonly passed: boolean | null
}

const CPU_RATIO_MAX = 2
/** Two processes of the same program may differ this much before a run counts for nothing. */
const CONTROL_RATIO = [0.9, 1.1] as const
const FSYNCS_MAX = 1.5
const ADDED_MS_MAX = 0.6
const RSS_MIB_MAX = 180
const DELAY_RATIO_MAX = 3
const STREAM_ADDED_MS_MAX = 0.3
const STREAM_P99_RATIO_MAX = 2
const STREAM_MEMORY_RATIO_MAX = 1.3
const RSS_GROWTH_MAX = 1.1
const MIB = 2 ** 20
const SESSION_MEMORY_RATIO_MAX = 1.5
const SESSION_DELAY_RATIO_MAX = 2
const PASS_RATIO_MAX = 3
const LINEARITY_MIN = 0.98
const STALL_MS_MAX = 100
const FRESH_P50_US_MAX = 150
const FRESH_P99_US_MAX = 3000
const FIRST_MS_MAX = 50
/** Of 100,000 decisions. */
const REPLAY_MS_MAX = 10_000
const AUDIT_RATIO_MIN = 0.5
const WAIT_SYNCS_MAX = 4
const REDIS_RATIO_MAX = 1.35
const AUTHENTICATION_RATIO_MAX = 10
/** Of a caller with a good key, p99 while others guess ÷ quiet. */
const FLOODED_RATIO_MAX = 2
/** From few keys to many, what the processor's caches cost included. */
const KEYS_GROWTH_MAX = 2
/** What a collector may leave lying about longer when there is more to do. */
const GROWTH_BYTES_MAX = 64 * 2 ** 20

export function judgeOverhead({ levels, rssBytes }: Overhead): Verdict[] {
  const verdicts: Verdict[] = []
  const loaded = levels.find(({ connections }) => connections === 32)
  const single = levels.find(({ connections }) => connections === 1)
  if (loaded !== undefined) verdicts.push(...judgeCpu(loaded))
  if (single?.fsyncP50Ms != null) {
    const maxMs = FSYNCS_MAX * single.fsyncP50Ms + ADDED_MS_MAX
    const addedMs = single.targets.governor.addedP50Ms
    verdicts.push({
      what: 'added p50 at c=1',
      measured: `${addedMs.toFixed(2)} ms`,
      target: `≤ ${FSYNCS_MAX} × ${single.fsyncP50Ms.toFixed(2)} ms (write + fsync of 1 KB) + ${ADDED_MS_MAX} ms = ${maxMs.toFixed(2)} ms`,
      passed: addedMs <= maxMs,
    })
  }
  verdicts.push({
    what: 'RSS of Governor after the run',
    measured: `${(rssBytes.governor / MIB).toFixed(0)} MiB`,
    target: `≤ ${RSS_MIB_MAX} MiB`,
    passed: rssBytes.governor <= RSS_MIB_MAX * MIB,
  })
  return verdicts
}

function judgeCpu({ cpuRatio, controlRatio }: Level): Verdict[] {
  const [low, high] = CONTROL_RATIO
  const isSound = controlRatio >= low && controlRatio <= high
  return [
    {
      what: 'control: bare ÷ bare, CPU at c=32',
      measured: controlRatio.toFixed(2),
      target: `${low} – ${high}, else the run does not count`,
      passed: isSound,
    },
    {
      what: 'Governor ÷ bare, CPU at c=32',
      measured: cpuRatio.toFixed(2),
      target: `≤ ${CPU_RATIO_MAX.toFixed(1)}`,
      passed: isSound ? cpuRatio <= CPU_RATIO_MAX : null,
    },
  ]
}

function kibOf(bytes: number): string {
  return (bytes / 1024).toFixed(1)
}

/** From the provider's write to the client's read, beside the bare forwarder in the same run. */
function judgeDelays({ streams, targets: { bare, governor } }: Streams['few']): Verdict[] {
  const beside = (figure: 'delayP50Ms' | 'delayP99Ms' | 'gapErrorP99Ms') =>
    `${governor[figure].toFixed(2)} ms beside ${bare[figure].toFixed(2)} ms`
  return [
    {
      what: `delay of a chunk p50, ${streams} streams`,
      measured: beside('delayP50Ms'),
      target: `≤ the bare forwarder’s + ${STREAM_ADDED_MS_MAX} ms`,
      passed: governor.delayP50Ms <= bare.delayP50Ms + STREAM_ADDED_MS_MAX,
    },
    ...(['delayP99Ms', 'gapErrorP99Ms'] as const).map((figure) => ({
      what: `${figure === 'delayP99Ms' ? 'delay of a chunk' : 'error of a gap'} p99`,
      measured: beside(figure),
      target: `≤ ${STREAM_P99_RATIO_MAX} × the bare forwarder’s`,
      passed: governor[figure] <= bare[figure] * STREAM_P99_RATIO_MAX,
    })),
  ]
}

export function judgeStreams({ few, many }: Streams): Verdict[] {
  const { bare, governor } = many
  const delayRatio = governor.delay.p99Ms / bare.delay.p99Ms
  const growth = governor.rssLateBytes / governor.rssEarlyBytes
  const [bareBytes, bytes] = [bytesPerStream(bare), bytesPerStream(governor)]
  const why = governor.failure === null ? '' : ` (${governor.failure})`
  const delays = `${governor.delay.p99Ms.toFixed(2)} ms ÷ ${bare.delay.p99Ms.toFixed(2)} ms`
  return [
    ...judgeDelays(few),
    {
      what: `memory a stream, ${many.streams} streams`,
      measured: `${kibOf(bytes)} KiB ÷ ${kibOf(bareBytes)} KiB = ${(bytes / bareBytes).toFixed(2)}`,
      target: `≤ ${STREAM_MEMORY_RATIO_MAX} × the bare forwarder’s`,
      passed: bytes <= bareBytes * STREAM_MEMORY_RATIO_MAX,
    },
    {
      what: `${many.streams} streams without an error`,
      measured: `${governor.failed} failed${why}`,
      target: '0',
      passed: governor.failed === 0,
    },
    {
      what: `event loop delay p99, ${many.streams} streams`,
      measured: `${delays} = ${delayRatio.toFixed(2)}`,
      target: `≤ ${DELAY_RATIO_MAX} × the bare forwarder’s`,
      passed: delayRatio <= DELAY_RATIO_MAX,
    },
    {
      what: `RSS at ${many.lateMs / 1000} s ÷ at ${many.earlyMs / 1000} s`,
      measured: growth.toFixed(3),
      target: `≤ ${RSS_GROWTH_MAX}`,
      passed: growth <= RSS_GROWTH_MAX,
    },
  ]
}

export function judgeSessions({ idle, busy, targets }: Sessions): Verdict[] {
  const { bare, governor } = targets
  const memory = governor.bytesPerSession / bare.bytesPerSession
  const delay = governor.addedP99Ms / bare.addedP99Ms
  const kib = ({ bytesPerSession }: typeof bare) => (bytesPerSession / 1024).toFixed(1)
  return [
    {
      what: `memory of each of ${idle} idle sessions`,
      measured: `${kib(governor)} KiB ÷ ${kib(bare)} KiB = ${memory.toFixed(2)}`,
      target: `≤ ${SESSION_MEMORY_RATIO_MAX} × a bare relay’s`,
      passed: memory <= SESSION_MEMORY_RATIO_MAX,
    },
    {
      what: `added to an event p99, ${busy} busy sessions`,
      measured: `${governor.addedP99Ms.toFixed(2)} ms ÷ ${bare.addedP99Ms.toFixed(2)} ms = ${delay.toFixed(2)}`,
      target: `≤ ${SESSION_DELAY_RATIO_MAX} × a bare relay’s`,
      passed: delay <= SESSION_DELAY_RATIO_MAX,
    },
  ]
}

export function judgePolicies({ ratios, linearity, stall, fresh }: Policies): Verdict[] {
  const worst = Math.max(...Object.values(ratios))
  const said = Object.entries(ratios).map(([kind, ratio]) => `${kind} ${ratio.toFixed(2)}`)
  return [
    {
      what: 'deciding ÷ one RE2Set pass, CPU, 100 KB',
      measured: said.join(', '),
      target: `≤ ${PASS_RATIO_MAX}`,
      passed: worst <= PASS_RATIO_MAX,
    },
    {
      what: 'R² of CPU over length, 10 KB to 1 MB',
      measured: linearity.toFixed(4),
      target: `≥ ${LINEARITY_MIN}`,
      passed: linearity >= LINEARITY_MIN,
    },
    {
      what: 'longest step of deciding, 16 MB of almosts or of values, CPU',
      measured:
        `${stall.worstMs.toFixed(0)} ms, for ${JSON.stringify(stall.text)} ` +
        `(${stall.silenceMs.toFixed(0)} ms by the clock)`,
      target: `< ${STALL_MS_MAX} ms`,
      passed: stall.worstMs < STALL_MS_MAX,
    },
    ...fresh.flatMap(({ patterns, p50Us, p99Us, firstMs }) => [
      {
        what: `1,000 new texts, ${patterns} patterns: above nothing`,
        measured: `p50 ${p50Us.toFixed(0)} µs, p99 ${p99Us.toFixed(0)} µs`,
        target: `p50 ≤ ${FRESH_P50_US_MAX} µs, p99 ≤ ${FRESH_P99_US_MAX} µs`,
        passed: p50Us <= FRESH_P50_US_MAX && p99Us <= FRESH_P99_US_MAX,
      },
      {
        what: `longest of the first ten decisions, ${patterns} patterns`,
        measured: `${firstMs.toFixed(1)} ms`,
        target: `< ${FIRST_MS_MAX} ms`,
        passed: firstMs < FIRST_MS_MAX,
      },
    ]),
  ]
}

export function judgeReplay({ decisions, tookMs, readMs, ratio }: Replayed): Verdict[] {
  const allMs = (tookMs / decisions) * 100_000
  return [
    {
      what: `replay of ${decisions} decisions, 51 policies`,
      measured: `${(tookMs / 1000).toFixed(2)} s, ${ratio.toFixed(1)} × reading them (${(readMs / 1000).toFixed(2)} s)`,
      target: `< ${REPLAY_MS_MAX / 1000} s for 100,000`,
      passed: allMs < REPLAY_MS_MAX,
    },
  ]
}

export function judgeAudit(cost: AuditCost): Verdict[] {
  const { durable, verify, shipped, waited, few, many, grown } = cost
  const waitMsMax = WAIT_SYNCS_MAX * waited.fsyncP99Ms
  return [
    {
      what: 'durable entries ÷ the same batches in a bare better-sqlite3 loop',
      measured: durable.ratio.toFixed(2),
      target: `≥ ${AUDIT_RATIO_MIN}`,
      passed: durable.ratio >= AUDIT_RATIO_MIN,
    },
    {
      what: 'verified entries ÷ SELECT + SHA-256',
      measured: verify.ratio.toFixed(2),
      target: `≥ ${AUDIT_RATIO_MIN}`,
      passed: verify.ratio >= AUDIT_RATIO_MIN,
    },
    {
      what: 'shipped entries ÷ bare inserts by UNNEST',
      measured: shipped.ratio.toFixed(2),
      target: `≥ ${AUDIT_RATIO_MIN}`,
      passed: shipped.ratio >= AUDIT_RATIO_MIN,
    },
    {
      what: `p99 wait at half that load, ${waited.entriesPerSecond.toFixed(0)} entries/s`,
      measured: `${waited.p99Ms.toFixed(2)} ms`,
      target: `≤ ${WAIT_SYNCS_MAX} × ${waited.fsyncP99Ms.toFixed(2)} ms (p99 of write + fsync)`,
      passed: waited.p99Ms <= waitMsMax,
    },
    ...grown.map(({ command, fewBytes, manyBytes }) => ({
      what: `memory of audit ${command.split(' ')[0]}, ${many} entries beside ${few}`,
      measured: `+${((manyBytes - fewBytes) / MIB).toFixed(0)} MiB`,
      target: `≤ +${GROWTH_BYTES_MAX / MIB} MiB`,
      passed: manyBytes - fewBytes <= GROWTH_BYTES_MAX,
    })),
  ]
}

export function judgeRedis({ ratio, controlRatio }: SharedLimits): Verdict[] {
  const [low, high] = CONTROL_RATIO
  const isSound = controlRatio >= low && controlRatio <= high
  return [
    {
      what: 'limits in Redis ÷ in memory, CPU at c=32',
      measured: ratio.toFixed(2),
      target: `≤ ${REDIS_RATIO_MAX}, with a control of ${low} – ${high} (${controlRatio.toFixed(2)})`,
      passed: isSound ? ratio <= REDIS_RATIO_MAX : null,
    },
  ]
}

export function judgeKeys(sizes: readonly Authenticating[]): Verdict[] {
  const verdicts = sizes.map(({ keys, warmUs, bareUs }) => ({
    what: `a call is authenticated, ${keys} keys`,
    measured: `${warmUs.toFixed(2)} µs, ${(warmUs / bareUs).toFixed(1)} ×`,
    target: `≤ ${AUTHENTICATION_RATIO_MAX} × ${bareUs.toFixed(2)} µs (one hash)`,
    passed: warmUs / bareUs <= AUTHENTICATION_RATIO_MAX,
  }))
  const [few, many] = [sizes[0]!, sizes.at(-1)!]
  const growth = many.warmUs / few.warmUs
  const flat = {
    what: `${many.keys} keys ÷ ${few.keys} keys`,
    measured: `${growth.toFixed(2)} ×`,
    target: `≤ ${KEYS_GROWTH_MAX} ×`,
    passed: growth <= KEYS_GROWTH_MAX,
  }
  return [...verdicts, flat]
}

export function judgeFloods({ perSecond, quietP99Ms, floods }: Floods): Verdict[] {
  return floods.map(({ name, p99Ms, ratio }) => ({
    what: `p99 of a good key while ${perSecond}/s guess: ${name}`,
    measured: `${p99Ms.toFixed(2)} ms, ${ratio.toFixed(2)} ×`,
    target: `≤ ${FLOODED_RATIO_MAX} × ${quietP99Ms.toFixed(2)} ms (quiet)`,
    passed: ratio <= FLOODED_RATIO_MAX,
  }))
}
