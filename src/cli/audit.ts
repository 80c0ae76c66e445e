import { appendOnce } from '../audit/append-once.ts'
import { restoreBundle } from '../audit/bundle.ts'
import type { KeptText } from '../audit/content.ts'
import { adminBody } from '../audit/entry.ts'
import { aboutLog } from '../audit/file.ts'
import type { FleetRoot } from '../audit/fleet-root.ts'
import { entryAsJson, entryAsText, escapeText, textsAsText } from '../audit/format.ts'
import { lastSignedMs } from '../audit/last-signed.ts'
import { LogReader } from '../audit/query.ts'
import type { StoredEntry } from '../audit/query.ts'
import { recordReading, textsOfEntry } from '../audit/read-content.ts'
import { bundleSource, isRemoteBundle } from '../audit/remote-bundle.ts'
import { keyListPath, nextKey, withRotationLock } from '../audit/signing-key.ts'
import { verifySource } from '../audit/verify-remote.ts'
import { verifyLog } from '../audit/verify.ts'
import type { Finding, VerifyResult } from '../audit/verify.ts'
import { every, wallMs } from '../clock.ts'
import { counted } from './counted.ts'
import { NO_PROGRESS, type Progress } from './progress.ts'

/** How often a followed log is looked at. */
const FOLLOW_MS = 250

/** What `governor audit tail` was asked for. */
export interface TailOptions {
  readonly path: string
  /** How many entries are shown first. */
  readonly lines: number
  /** Go on with new ones until `signal` is aborted. */
  readonly follow: boolean
  readonly json: boolean
  /** Takes whole lines, with their line feed. */
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
  readonly signal?: AbortSignal
  /** Show prompts and answers, and record that; null does neither. */
  readonly content?: { readonly version: string } | null
}

/** Shows the last entries, and with `follow` those that come. Exit code 0, or 2 without a log. */
export async function auditTail(options: TailOptions): Promise<number> {
  const { path, lines, follow, json, write, signal, content = null } = options
  const { writeError = write } = options
  const show = (entries: readonly StoredEntry[]) => {
    for (const entry of entries) {
      write(shown(entry, content === null ? [] : textsOfEntry(path, entry), json))
    }
  }
  let reader: LogReader
  try {
    reader = LogReader.open(options.path)
  } catch (error) {
    writeError(`${escapeText((error as Error).message)}\n`)
    return 2
  }
  try {
    const about = { lines: String(lines), ...(follow && { follow: 'true' }) }
    const last = reader.last(lines)
    if (content !== null) recordReading({ path, ...content, command: 'audit tail', about })
    show(last)
    if (follow) await followLog(reader, show, signal)
  } catch (error) {
    writeError(`${escapeText(aboutLog(options.path, error).message)}\n`)
    return 2
  } finally {
    reader.close()
  }
  return 0
}

/** An entry, and what was kept of its content, as lines with their line feeds. */
export function shown(entry: StoredEntry, texts: readonly KeptText[], json: boolean): string {
  const lines = json ? [entryAsJson(entry, texts)] : [entryAsText(entry), ...textsAsText(texts)]
  return lines.map((line) => `${line}\n`).join('')
}

function followLog(
  reader: LogReader,
  show: (entries: readonly StoredEntry[]) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error?: unknown) => {
      stop()
      clearTimeout(alive)
      signal?.removeEventListener('abort', onAbort)
      if (error === undefined) resolve()
      else reject(error)
    }
    const onAbort = () => end()
    const look = () => {
      try {
        for (let found = reader.next(); found.length > 0; found = reader.next()) show(found)
      } catch (error) {
        end(error)
      }
    }
    const stop = every(FOLLOW_MS, look)
    // The repeating timer does not keep a process alive, and here there is nothing else.
    const alive = setTimeout(() => end(), 2 ** 31 - 1)
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted === true) end()
  })
}

/** What `governor audit verify` was asked for, wherever the entries are. */
export interface VerifyAsked {
  /** An end that nothing attests is exit code 2. */
  readonly strict: boolean
  /** Public keys to trust instead of the list beside the log. */
  readonly keys?: string | null
  /** Checkpoints that were published outside. */
  readonly published?: string | null
  /** A root over all writers that was published. */
  readonly root?: string | FleetRoot | null
  readonly json: boolean
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
  readonly progress?: Progress
}

/** The same, of the log or the bundle at `path`. */
export interface VerifyOptions extends VerifyAsked {
  readonly path: string
  /** It was put back from a bundle. */
  readonly isBundle?: boolean
}

/** Verifies the log and says what was found. Exit code 0 holds · 1 does not · 2 cannot be told. */
export function auditVerify(options: VerifyOptions): number {
  const { progress = NO_PROGRESS } = options
  const result = verifyLog(options.path, { ...options, onRows: progress.add })
  progress.end()
  return showVerified(result, options)
}

/** Says what a verification found; answers its exit code. */
export function showVerified(
  result: VerifyResult,
  { json, write }: Pick<VerifyOptions, 'json' | 'write'>,
): number {
  if (json) write(`${escapeText(JSON.stringify(result))}\n`)
  else for (const line of resultLines(result)) write(`${escapeText(line)}\n`)
  return result.exitCode
}

/**
 * Verifies a bundle (`path`) that `audit export --all` wrote. Without `keys` its own list is believed,
 * so give one you trust. Exit code as `auditVerify`; 2 for what is no whole bundle.
 */
export async function auditVerifyBundle(options: VerifyOptions): Promise<number> {
  try {
    if (await isRemoteBundle(options.path)) return await verifyRemote(options)
    const restored = await restoreBundle(options.path)
    try {
      return auditVerify({ ...options, path: restored.path, isBundle: true })
    } finally {
      restored.remove()
    }
  } catch (error) {
    const { write, writeError = write } = options
    writeError(`${escapeText((error as Error).message)}\n`)
    return 2
  }
}

async function verifyRemote(options: VerifyOptions): Promise<number> {
  const { path, progress = NO_PROGRESS } = options
  try {
    const result = await verifySource(bundleSource(path), { ...options, onRows: progress.add })
    progress.end()
    return showVerified(result, options)
  } finally {
    progress.end()
  }
}

const VERDICTS = {
  0: 'The audit log holds',
  1: 'The audit log does not hold',
  2: 'Not enough evidence',
}

function resultLines(result: VerifyResult): string[] {
  const { problems, problemsTotal, notes, openCalls, unacknowledged } = result
  const lines = problems.map((problem) => `problem  ${findingText(problem)}`)
  if (problemsTotal > problems.length) {
    lines.push(`problem  ${problemsTotal - problems.length} more are not shown`)
  }
  lines.push(...notes.map((note) => `note     ${findingText(note)}`))
  const counts = [
    counted(result.entries, 'entry', 'entries'),
    counted(result.chains, 'chain', 'chains'),
    counted(result.files.length, 'file', 'files'),
    counted(openCalls, 'open call', 'open calls'),
    `${counted(result.signed, 'entry', 'entries')} under a signed checkpoint`,
  ]
  if (unacknowledged > 0) {
    counts.push(counted(unacknowledged, 'unacknowledged entry', 'unacknowledged entries'))
  }
  if (problemsTotal > 0) counts.push(counted(problemsTotal, 'problem', 'problems'))
  lines.push(`${VERDICTS[result.exitCode]}: ${counts.join(', ')}`)
  return lines
}

function findingText({ file, writer, seq, what }: Finding): string {
  const chain = writer === '' ? '' : ` writer ${writer}`
  const entry = seq === 0 ? '' : ` entry ${seq}`
  return `${file}${chain}${entry}: ${what}`
}

/**
 * `governor audit rotate-key`: a new key signs from now on. The entry that says which comes first. Exit
 * code 0, or 2 when log or key cannot be written.
 */
export function auditRotateKey(options: {
  readonly path: string
  readonly version: string
  readonly write: (text: string) => void
  readonly writeError?: (text: string) => void
}): number {
  const { path, version, write, writeError = write } = options
  try {
    const { former, current } = withRotationLock(path, () => {
      const nowMs = wallMs()
      const next = nextKey(path, nowMs)
      const ids = { former: next.former, current: next.current }
      const body = adminBody('audit.rotate-key', ids, nowMs)
      appendOnce(path, version, [{ kind: 'admin', body }])
      next.use(lastSignedMs(path))
      return ids
    })
    write(`Key ${current} signs the audit from now on, instead of ${former}.\n`)
    write(`Give verifiers the new list: ${escapeText(keyListPath(path))}\n`)
    return 0
  } catch (error) {
    writeError(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}
