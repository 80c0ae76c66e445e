import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { env as processEnv } from 'node:process'

import { wallMs } from '../clock.ts'
import { advise } from './advice.ts'
import { excerpt } from './excerpt.ts'
import { adviseExceptions } from './lint-exceptions.ts'
import { lint } from './lint.ts'
import { type ExcerptOf, PROBLEMS_MAX, sortProblems, type Problem } from './problem.ts'
import { Reader } from './read.ts'
import { Report } from './report.ts'
import type { ExpressionCheck } from './resolve-expressions.ts'
import { resolveFile } from './resolve.ts'
import { FILE } from './schema.ts'
import type { Snapshot } from './snapshot.ts'
import { Source } from './source.ts'

/** What a caller needs to show what went wrong. */
export { renderProblems, type Problem } from './problem.ts'

/** The largest governance.yaml, bytes; what a ConfigMap may hold. */
export const FILE_BYTES_MAX = 1024 * 1024
/** The largest secret file, bytes. */
const SECRET_BYTES_MAX = 64 * 1024

/** How a file is loaded. */
export interface LoadOptions {
  /** Where `${NAME}` is looked up; the process's own environment by default. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Whether an unset `${NAME}` is a problem, as for `run`; otherwise it is a note. */
  readonly forRun: boolean
  /** Knows the language of expressions, which is a neighbour's. */
  readonly checkExpression: ExpressionCheck
  /**
   * What becomes of `candidate`: it is loaded, which is the default; left alone, by commands that ask no
   * policy; or refused, in a candidate.
   */
  readonly candidate?: 'load' | 'ignore' | 'refuse'
  /** When it is loaded, milliseconds since 1970, for what is said about exceptions; now when absent. */
  readonly nowMs?: number
}

/**
 * A snapshot, deeply frozen, with advice about it, or every reason why there is none, in the order of
 * the file.
 */
export type Loaded =
  | { readonly ok: true; readonly snapshot: Snapshot; readonly notes: readonly Problem[] }
  | {
      readonly ok: false
      readonly problems: readonly Problem[]
      /** Shows where they are, to people; never a line that may hold a secret. */
      readonly excerptOf: ExcerptOf
      /** The file itself cannot be read. */
      readonly missing: boolean
      /** Absolute paths of other files whose change may help. */
      readonly follow: readonly string[]
    }

const NO_FILE = 'there is none'

/**
 * Reads, checks and resolves a governance.yaml. Never throws: what is wrong comes back as problems
 * with line and column. `file` is shown in them as given.
 */
export function loadConfig(file: string, options: LoadOptions): Loaded {
  const bytes = readBounded(file, FILE_BYTES_MAX)
  if ('wrong' in bytes) {
    const isFirst = options.candidate !== 'refuse' && bytes.wrong.endsWith(NO_FILE)
    // Whoever begins has no file yet.
    const wayOut = isFirst ? ': `governor init` writes one' : ''
    return refused(file, bytes.wrong + wayOut, true)
  }
  return parseConfig(file, bytes.bytes, options)
}

/** The same for bytes already read; `file` is where they are said to come from. */
export function parseConfig(file: string, bytes: Buffer, options: LoadOptions): Loaded {
  const text = decode(bytes)
  if ('wrong' in text) return refused(file, text.wrong, false)
  const source = parse(file, text.text)
  if (source === null) return refused(file, 'Cannot parse: nested too deeply', false)
  const excerptOf = (problem: Problem) => (problem.file === file ? excerpt(text.text, problem) : '')
  if (!source.sound) return failed(bounded(source.problems), excerptOf)
  const report = new Report(source)
  const given = { env: options.env ?? processEnv, forRun: options.forRun }
  const value = new Reader(report, given).read(FILE)
  const own = resolveFile(value, report, {
    file: resolve(file),
    digest: createHash('sha256').update(bytes).digest('hex'),
    readSecret,
    readText,
    checkExpression: options.checkExpression,
    ...given,
  })
  const candidate = loadCandidate(value.candidate, report, { file, options })
  const snapshot = { ...own, candidate: candidate.snapshot }
  const problems = [...bounded([...source.problems, ...report.problems]), ...candidate.problems]
  if (problems.length > 0) {
    const follow = [...snapshot.secretFiles, ...candidate.follow]
    return failed(problems, (each) => excerptOf(each) || candidate.excerptOf(each), follow)
  }
  const nowMs = options.nowMs ?? wallMs()
  for (const { path, message, rule } of [
    ...advise(snapshot),
    ...adviseExceptions(snapshot, nowMs),
  ]) {
    if (!report.noted(path)) report.note(path, message, rule)
  }
  if (!options.forRun) {
    const found = lint(value, snapshot, nowMs)
    for (const { path, message, rule } of found) report.note(path, message, rule)
  }
  return { ok: true, snapshot: deepFreeze(snapshot), notes: sortProblems(report.notes) }
}

interface LoadedCandidate {
  readonly snapshot: Snapshot | null
  /** In the candidate. */
  readonly problems: readonly Problem[]
  readonly excerptOf: ExcerptOf
  readonly follow: readonly string[]
}

/** Loads what `candidate` names; that there is no such file is a problem of `file`. */
function loadCandidate(
  written: string | null,
  report: Report,
  { file, options }: { readonly file: string; readonly options: LoadOptions },
): LoadedCandidate {
  const { candidate = 'load' } = options
  const nothing = { snapshot: null, problems: [], excerptOf: NOTHING_SHOWN, follow: [] }
  const at = ['candidate']
  if (written === null || candidate === 'ignore' || !report.clean(at)) return nothing
  const isItself = resolve(dirname(file), written) === resolve(file)
  report.check(at, !isItself, 'It is this file itself: name another one')
  const message = 'A candidate has none of its own: remove the key'
  report.check(at, candidate !== 'refuse', message)
  if (!report.clean(at)) return nothing
  const shown = isAbsolute(written) ? written : join(dirname(file), written)
  const loaded = loadConfig(shown, { ...options, candidate: 'refuse' })
  const follow = [resolve(shown)]
  if (loaded.ok) return { ...nothing, snapshot: loaded.snapshot, follow }
  const more = [...follow, ...loaded.follow]
  const { problems, excerptOf } = loaded
  if (!loaded.missing) return { snapshot: null, problems, excerptOf, follow: more }
  report.check(at, false, loaded.problems[0]?.message ?? 'Cannot read the file')
  return { ...nothing, follow: more }
}

const NOTHING_SHOWN: ExcerptOf = () => ''

function failed(
  problems: readonly Problem[],
  excerptOf: ExcerptOf,
  follow: readonly string[] = [],
): Loaded {
  return { ok: false, problems, excerptOf, missing: false, follow }
}

function refused(file: string, message: string, missing: boolean): Loaded {
  const place = missing ? { line: 0, column: 0 } : { line: 1, column: 1 }
  return {
    ok: false,
    problems: [{ file, ...place, path: '', message, severity: 'error' }],
    excerptOf: NOTHING_SHOWN,
    missing,
    follow: [],
  }
}

function bounded(problems: readonly Problem[]): Problem[] {
  return sortProblems(problems).slice(0, PROBLEMS_MAX)
}

/** More open brackets than any policy needs; a megabyte of them costs the YAML parser 4.7 s. */
const BRACKETS_OPEN_MAX = 1000

function isTooDeep(text: string): boolean {
  let open = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '[' || character === '{') open++
    else if (character === ']' || character === '}') open = Math.max(0, open - 1)
    if (open > BRACKETS_OPEN_MAX) return true
  }
  return false
}

/** The parser is recursive: what gets past the first look ends its stack, not ours. */
function parse(file: string, text: string): Source | null {
  if (isTooDeep(text)) return null
  try {
    return new Source(file, text)
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

function decode(bytes: Buffer): { readonly text: string } | { readonly wrong: string } {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return { wrong: 'The file is not UTF-8 text: save it as UTF-8' }
  }
  if (text.includes('\0')) {
    return { wrong: 'The file holds a NUL byte: it is not text, or not UTF-8, save it as UTF-8' }
  }
  if (/\r(?!\n)/.test(text)) {
    return { wrong: 'A line ends in a carriage return alone: save the file with LF line ends' }
  }
  if (text.trim() === '') {
    return { wrong: 'The file is empty: `governor init` writes one to start from' }
  }
  return { text }
}

function readSecret(path: string): { readonly secret: string } | { readonly wrong: string } {
  const read = readBounded(path, SECRET_BYTES_MAX)
  if ('wrong' in read) return read
  const secret = read.bytes.toString('utf8').trim()
  if (secret === '') return { wrong: 'The file is empty: put the credential in it' }
  if (/^[\x21-\x7e]+$/.test(secret)) return { secret }
  return { wrong: 'The file holds more than a credential: one line of printable ASCII is expected' }
}

function readText(path: string): { readonly text: string } | { readonly wrong: string } {
  const read = readBounded(path, FILE_BYTES_MAX)
  return 'wrong' in read ? read : { text: read.bytes.toString('utf8') }
}

/** Reads once, through one descriptor, so that a swap in between cannot mix two files. */
function readBounded(
  path: string,
  bytesMax: number,
): { readonly bytes: Buffer } | { readonly wrong: string } {
  let descriptor: number | null = null
  try {
    descriptor = openSync(path, 'r')
    if (!fstatSync(descriptor).isFile()) return { wrong: 'Cannot read: it is not a file' }
    const buffer = Buffer.alloc(bytesMax + 1)
    let length = 0
    for (;;) {
      const count = readSync(descriptor, buffer, length, buffer.length - length, null)
      length += count
      if (count === 0 || length === buffer.length) break
    }
    if (length > bytesMax) return { wrong: `The file is larger than ${bytesMax} bytes` }
    return { bytes: Buffer.from(buffer.subarray(0, length)) }
  } catch (error) {
    return { wrong: `Cannot read the file: ${reason(error)}` }
  } finally {
    if (descriptor !== null) closeSync(descriptor)
  }
}

function reason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null
  if (code === 'ENOENT' || code === 'ENOTDIR') return NO_FILE
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  return typeof code === 'string' ? code : 'unknown reason'
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) deepFreeze(inner)
  }
  return value
}
