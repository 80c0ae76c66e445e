import type { AuditCost } from './audit.ts'
import type { Floods } from './floods.ts'
import type { Authenticating } from './keys.ts'
import { type Machine } from './machine.ts'
import { type Level, type Overhead, TARGETS } from './overhead.ts'
import type { Policies } from './policies.ts'
import type { SharedLimits } from './redis.ts'
import type { Replayed } from './replay.ts'
import { SESSION_TARGETS, type Sessions } from './sessions.ts'
import { bytesPerStream, type ManyStreams, STREAM_TARGETS, type Streams } from './streams.ts'
import type { Verdict } from './verdicts.ts'

/** All a run found, as it lies in results/. */
export interface Results {
  readonly machine: Machine
  /** Short slices: shows that the bench works, not how fast anything is. */
  readonly quick: boolean
  readonly overhead: Overhead | null
  readonly streams: Streams | null
  readonly sessions: Sessions | null
  readonly policies: Policies | null
  readonly replay: Replayed | null
  readonly audit: AuditCost | null
  readonly redis: SharedLimits | null
  readonly keys: readonly Authenticating[] | null
  readonly floods: Floods | null
  readonly verdicts: readonly Verdict[]
}

type Row = readonly string[]
const MIB = 2 ** 20

/** Results as Markdown, readable in a terminal as it is. */
export function reportText(results: Results): string {
  const { machine, quick, verdicts, ...parts } = results
  const { cpu, cores, memoryGib, kernel, node, commit, date, pinning, fileSystem } = machine
  const lines = [
    ...(quick ? ['**A quick run: the figures mean nothing.**', ''] : []),
    `${date.slice(0, 16).replace('T', ' ')} UTC, commit ${commit ?? 'unknown'}, Node ${node}, ` +
      `${cores} × ${cpu}, ${memoryGib} GiB, Linux ${kernel}.`,
    `Pinned: ${pinning}. Audit on ${fileSystem}.`,
    '',
    ...table([
      ['target', 'measured', 'allowed', ''],
      ...verdicts.map(({ what, measured, target, passed }) => [
        what,
        measured,
        target,
        passed === null ? 'does not count' : passed ? 'pass' : '**FAIL**',
      ]),
    ]),
  ]
  lines.push(...partLines(parts))
  return `${lines.join('\n')}\n`
}

function partLines({
  overhead,
  streams,
  sessions,
  policies,
  audit,
  redis,
  keys,
  floods,
}: Omit<Results, 'machine' | 'quick' | 'verdicts'>): string[] {
  const lines: string[] = []
  if (overhead !== null) lines.push('', ...overheadLines(overhead))
  if (streams !== null) lines.push('', ...streamLines(streams))
  if (sessions !== null) lines.push('', ...sessionLines(sessions))
  if (policies !== null) lines.push('', ...policyLines(policies))
  if (audit !== null) lines.push('', ...auditLines(audit))
  if (redis !== null) lines.push('', ...redisLines(redis))
  if (keys !== null) lines.push('', ...keyLines(keys))
  if (floods !== null) lines.push('', ...floodLines(floods))
  return lines
}

function floodLines({ perSecond, quietP50Ms, quietP99Ms, floods }: Floods): string[] {
  const quiet = ['quiet', quietP50Ms.toFixed(2), quietP99Ms.toFixed(2), '–', '–']
  return table([
    [`guesses, ${perSecond}/s`, 'caller p50 ms', 'p99 ms', '÷ quiet', 'answers to guesses'],
    quiet,
    ...floods.map(({ name, p50Ms, p99Ms, ratio, statuses }) => {
      const answers = Object.entries(statuses).map(([status, count]) => `${status}: ${count}`)
      return [name, p50Ms.toFixed(2), p99Ms.toFixed(2), ratio.toFixed(2), answers.join(', ')]
    }),
  ])
}

function rate(perSecond: number): string {
  return perSecond.toFixed(0)
}

function keyLines(sizes: readonly Authenticating[]): Row {
  return table([
    [
      'keys in the store',
      'callers',
      'authenticated, µs',
      'one hash, µs',
      'look into the store, µs',
    ],
    ...sizes.map(({ keys, callers, warmUs, bareUs, findUs }) => [
      String(keys),
      String(callers),
      warmUs.toFixed(2),
      bareUs.toFixed(2),
      findUs.toFixed(2),
    ]),
  ])
}

function auditLines(cost: AuditCost): Row {
  const { durable, verify, shipped, waited, few, many, grown } = cost
  return [
    ...table([
      ['audit', 'entries/s', 'bare, entries/s'],
      ['durable, 32 a commit', rate(durable.rowsPerSecond), rate(durable.barePerSecond)],
      ['verify', rate(verify.rowsPerSecond), rate(verify.barePerSecond)],
      ['shipping, 500 a batch', rate(shipped.rowsPerSecond), rate(shipped.barePerSecond)],
    ]),
    '',
    `- Wait for the disk at ${rate(waited.entriesPerSecond)} entries/s: p50 ${waited.p50Ms.toFixed(2)} ms, ` +
      `p99 ${waited.p99Ms.toFixed(2)} ms; write + fsync of 1 KB p99 ${waited.fsyncP99Ms.toFixed(2)} ms`,
    '',
    ...table([
      ['audit command', `${few} entries`, 'most memory', `${many} entries`, 'most memory'],
      ...grown.map(({ command, fewMs, manyMs, fewBytes, manyBytes }) => [
        command,
        `${(fewMs / 1000).toFixed(1)} s`,
        mib(fewBytes),
        `${(manyMs / 1000).toFixed(1)} s`,
        mib(manyBytes),
      ]),
    ]),
  ]
}

function redisLines({ targets, ratios, ratio, controlRatios, controlRatio }: SharedLimits): Row {
  return [
    ...table([
      ['limits counted in', 'CPU µs', 'p50 ms', 'p99 ms'],
      ...Object.entries(targets).map(([name, figures]) => [
        name,
        figures.cpuUsPerCall.toFixed(0),
        figures.p50Ms.toFixed(2),
        figures.p99Ms.toFixed(2),
      ]),
    ]),
    '',
    `- Redis ÷ memory, CPU at c=32 ${ratio.toFixed(2)} (${range(ratios)}), control ${controlRatio.toFixed(2)} (${range(controlRatios)})`,
  ]
}

function overheadLines({ levels, rssBytes }: Overhead): string[] {
  const { bare, control, governor } = rssBytes
  return [
    ...table([
      ['calls', 'CPU µs', 'p50 ms', 'p99 ms', 'added p50', 'added p99', 'calls/s'],
      ...levels.flatMap(levelRows),
    ]),
    '',
    ...levels.map((level) => {
      const ratios = `Governor ÷ bare ${level.cpuRatio.toFixed(2)} (${range(level.cpuRatios)})`
      const sound = `control ${level.controlRatio.toFixed(2)} (${range(level.controlRatios)})`
      return `- CPU at c=${level.connections}, median of ${level.rounds} rounds: ${ratios}, ${sound}`
    }),
    `- RSS after the run: Governor ${mib(governor)}, bare ${mib(bare)}, control ${mib(control)}`,
  ]
}

function levelRows({ connections, targets }: Level): Row[] {
  return TARGETS.map((target) => {
    const figures = targets[target]
    const isDirect = target === 'direct'
    return [
      `c=${connections} ${target}`,
      isDirect ? '–' : figures.cpuUsPerCall.toFixed(0),
      figures.p50Ms.toFixed(2),
      figures.p99Ms.toFixed(2),
      isDirect ? '–' : figures.addedP50Ms.toFixed(2),
      isDirect ? '–' : figures.addedP99Ms.toFixed(2),
      figures.callsPerSecond.toFixed(0),
    ]
  })
}

function streamLines({ few, many }: Streams): string[] {
  return [
    ...table([
      [
        `${few.streams} streams, a chunk each ${few.paceMs} ms`,
        'first byte p50 ms',
        'p99 ms',
        'worst gap p50 ms',
        'worst of all ms',
        'delay p50 ms',
        'p99 ms',
        'gap error p99 ms',
      ],
      ...STREAM_TARGETS.map((target) => {
        const figures = few.targets[target]
        return [
          target,
          figures.firstByteP50Ms.toFixed(2),
          figures.firstByteP99Ms.toFixed(2),
          figures.worstGapP50Ms.toFixed(1),
          figures.worstGapMaxMs.toFixed(1),
          figures.delayP50Ms.toFixed(2),
          figures.delayP99Ms.toFixed(2),
          figures.gapErrorP99Ms.toFixed(2),
        ]
      }),
    ]),
    '',
    ...table([
      [
        `${many.streams} streams, a chunk each ${many.paceMs} ms`,
        'failed',
        'loop delay p50 ms',
        'p99 ms',
        'first byte p99 ms',
        'worst gap ms',
        'CPU',
        'KiB a stream',
        `RSS ${many.earlyMs / 1000} s → ${many.lateMs / 1000} s`,
      ],
      manyRow('bare', many.bare),
      manyRow('governor', many.governor),
    ]),
  ]
}

function hundredths(all: readonly number[]): string[] {
  return all.map((value) => value.toFixed(2))
}

function sessionLines(sessions: Sessions): string[] {
  const { idle, busy, paceMs, targets, directP50Ms, directP99Ms } = sessions
  const { directAskedP50Ms, directAskedP99Ms, directBurstP99Ms, directBurstAskedP99Ms } = sessions
  const asked = hundredths([
    directAskedP50Ms,
    directAskedP99Ms,
    directBurstP99Ms,
    directBurstAskedP99Ms,
  ])
  return table([
    [
      `${busy} sessions, an event each ${paceMs} ms`,
      'p50 ms',
      'p99 ms',
      'added p50',
      'added p99',
      'asked p50',
      'asked p99',
      'all at once p99',
      'asked p99',
      `KiB each of ${idle} idle`,
    ],
    ['direct', directP50Ms.toFixed(2), directP99Ms.toFixed(2), '–', '–', ...asked, '–'],
    ...SESSION_TARGETS.map((target) => {
      const { p50Ms, p99Ms, addedP50Ms, addedP99Ms, ...rest } = targets[target]
      const { askedP50Ms, askedP99Ms, burstP99Ms, burstAskedP99Ms } = rest
      const delays = [p50Ms, p99Ms, addedP50Ms, addedP99Ms]
      const all = hundredths([...delays, askedP50Ms, askedP99Ms, burstP99Ms, burstAskedP99Ms])
      return [target, ...all, (rest.bytesPerSession / 1024).toFixed(1)]
    }),
  ])
}

function policyLines({ deciding }: Policies): string[] {
  return table([
    ['policies', 'patterns', 'text', 'compiling ms', 'first decision ms', 'warm CPU µs'],
    ...deciding.map(({ policies, patterns, units, warmUs, cold }) => [
      String(policies),
      String(patterns),
      `${units / 1000} KB`,
      cold.compileMs.toFixed(0),
      cold.firstMs.toFixed(1),
      warmUs.toFixed(0),
    ]),
  ])
}

function manyRow(name: string, figures: ManyStreams): Row {
  return [
    name,
    String(figures.failed),
    figures.delay.p50Ms.toFixed(2),
    figures.delay.p99Ms.toFixed(2),
    figures.firstByteP99Ms.toFixed(1),
    figures.worstGapMaxMs.toFixed(0),
    `${(figures.cpuShare * 100).toFixed(0)} %`,
    (bytesPerStream(figures) / 1024).toFixed(1),
    `${mib(figures.rssEarlyBytes)} → ${mib(figures.rssLateBytes)}`,
  ]
}

/** A Markdown table whose columns line up. */
function table([head = [], ...rows]: Row[]): string[] {
  const widths = head.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]!.length)),
  )
  const line = (row: Row): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  return [
    line(head),
    `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`,
    ...rows.map(line),
  ]
}

function range(ratios: readonly number[]): string {
  return `${Math.min(...ratios).toFixed(2)} – ${Math.max(...ratios).toFixed(2)}`
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(0)} MiB`
}
