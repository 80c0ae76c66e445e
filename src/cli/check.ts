import { wallMs } from '../clock.ts'
import { capacityText } from '../config/advice.ts'
import { githubCommands, sarifLog } from '../config/annotations.ts'
import { printConfig } from '../config/print.ts'
import { type Problem, problemLine, renderProblems, suggestion } from '../config/problem.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { loadConfig, type Loaded } from '../load-config.ts'
import { counted } from './counted.ts'
import { withShadowSince } from './shadow-since.ts'

const FORMATS = ['text', 'json', 'github', 'sarif']

/** The arguments of `governor check`, and where its output goes. */
export interface CheckOptions {
  /** governance.yaml when there are none. */
  readonly files: readonly string[]
  /** `text`, `json`, `github` (workflow commands) or `sarif` (2.1.0). */
  readonly format: string
  /** Whether to print the effective configuration, secrets masked. */
  readonly print: boolean
  /** Of Governor, for SARIF. */
  readonly version: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
  /** Milliseconds since 1970; now when absent. */
  readonly nowMs?: number
}

/**
 * `governor check`: all problems of each file, then advice. Exit code 0 when every file is fine, 1 when
 * one has problems, 2 when one cannot be read or the call makes no sense.
 */
export function check(options: CheckOptions): number {
  const { files, format, print, version, env, write, writeError = write } = options
  const wrong = formatProblem(format) ?? printProblem(format, print)
  if (wrong !== null) {
    writeError(`${wrong}\n`)
    return 2
  }
  const nowMs = options.nowMs ?? wallMs()
  const results = (files.length === 0 ? ['governance.yaml'] : files).map((file) => {
    return { file, loaded: withSince(loadConfig(file, { env, forRun: false }), nowMs) }
  })
  if (format === 'json') {
    const described = results.map(({ file, loaded }) => describe(file, loaded, print))
    write(`${JSON.stringify({ files: described }, null, 2)}\n`)
  } else if (format === 'github') {
    write(githubCommands(results.flatMap(({ loaded }) => said(loaded))))
  } else if (format === 'sarif') {
    write(
      sarifLog(
        results.flatMap(({ loaded }) => said(loaded)),
        version,
      ),
    )
  } else {
    for (const { file, loaded } of results) write(text(file, loaded, print))
  }
  return Math.max(...results.map(({ loaded }) => exitCode(loaded)))
}

/** What the local audit knows of the file's policies, told with the notes. */
function withSince(loaded: Loaded, nowMs: number): Loaded {
  if (!loaded.ok) return loaded
  return { ...loaded, notes: withShadowSince(loaded.notes, loaded.snapshot, nowMs) }
}

function formatProblem(format: string): string | null {
  if (FORMATS.includes(format)) return null
  return `Unknown format ${JSON.stringify(format)}${suggestion(format, FORMATS)}`
}

function printProblem(format: string, print: boolean): string | null {
  if (!print || format === 'text' || format === 'json') return null
  return `--print has no place in --format ${format}: use text or json`
}

function said(loaded: Loaded): readonly Problem[] {
  return loaded.ok ? loaded.notes : loaded.problems
}

function exitCode(loaded: Loaded): 0 | 1 | 2 {
  if (loaded.ok) return 0
  return loaded.missing ? 2 : 1
}

function text(file: string, loaded: Loaded, print: boolean): string {
  if (!loaded.ok) return renderProblems(loaded.problems, '', loaded.excerptOf)
  const notes = loaded.notes.map((note) => `${problemLine(note)}\n`)
  if (!print) return [...notes, `${file}: OK, ${summary(loaded.snapshot)}\n`].join('')
  const comments = notes.map((note) => `# ${note}`)
  return [`# ${file}, as it takes effect\n`, ...comments, printConfig(loaded.snapshot)].join('')
}

/** The same members for every file, so that a script need not ask which are there. */
function describe(file: string, loaded: Loaded, print: boolean) {
  const { ok } = loaded
  const problems = ok ? [] : loaded.problems
  const digest = ok ? loaded.snapshot.digest : null
  const notes = ok ? loaded.notes : []
  const shape = { file, ok, digest, problems, notes }
  if (!print) return shape
  return { ...shape, effective: ok ? printConfig(loaded.snapshot) : null }
}

function summary(snapshot: Snapshot): string {
  const counts = [
    counted(snapshot.upstreams.length, 'upstream', 'upstreams'),
    counted(snapshot.limits.length, 'limit', 'limits'),
    counted(snapshot.policies.length, 'policy', 'policies'),
  ]
  const { candidate } = snapshot
  if (candidate !== null) counts.push(`candidate ${candidate.file}`)
  return `${counts.join(', ')}; ${capacityText(snapshot)}`
}
