import type { Snapshot } from './config/snapshot.ts'
import type { ConfigWatcher } from './config/watch.ts'
import { loadConfig, type Loaded, type Problem, renderProblems } from './load-config.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'

/** What came of a reload that somebody asked for. */
export type Reloaded =
  | {
      readonly ok: true
      /** Of the snapshot in force now, hex. */
      readonly digest: string
      /** Whether it is another than before. */
      readonly changed: boolean
      /** What stops nothing. */
      readonly notes: readonly Problem[]
      /** Keys that differ in the file and take effect at the next start. */
      readonly deferred: readonly string[]
    }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** What is reloaded: a running Governor. */
export interface Reloadable {
  readonly snapshot: Snapshot
  readonly metrics: Pick<Metrics, 'configReloads'>
  reload(snapshot: Snapshot): Promise<void>
}

/** Loads a changed file and swaps the snapshot, one at a time; on any error the last good one stays. */
export class Reloader {
  readonly #governor: Reloadable
  readonly #log: Log
  readonly #file: string
  readonly #watcher: ConfigWatcher
  #running: Promise<Reloaded> | null = null
  /** Begins when the running one has ended; all who ask meanwhile share it. */
  #next: Promise<Reloaded> | null = null
  #forced = false

  constructor(
    governor: Reloadable,
    log: Log,
    { file, watcher }: { readonly file: string; readonly watcher: ConfigWatcher },
  ) {
    this.#governor = governor
    this.#log = log
    this.#file = file
    this.#watcher = watcher
  }

  /**
   * Reads the file as it is after this call. `forced` swaps a snapshot whose file has not changed, since
   * what it points to has. Never rejects.
   */
  request(forced = false): Promise<Reloaded> {
    this.#forced ||= forced
    const running = this.#running
    if (running === null) return this.#begin()
    return (this.#next ??= running.then(() => this.#begin()))
  }

  #begin(): Promise<Reloaded> {
    this.#next = null
    const reloading = this.#reload()
    this.#running = reloading
    return reloading
  }

  async #reload(): Promise<Reloaded> {
    const forced = this.#forced
    this.#forced = false
    try {
      return await this.#take(loadConfig(this.#file, { forRun: true }), forced)
    } catch (error) {
      this.#refused(error)
      const message = error instanceof Error ? error.message : String(error)
      const place = { file: this.#file, line: 0, column: 0, path: '' }
      return { ok: false, problems: [{ ...place, message, severity: 'error' }] }
    } finally {
      if (this.#next === null) this.#running = null
    }
  }

  async #take(loaded: Loaded, forced: boolean): Promise<Reloaded> {
    const former = this.#governor.snapshot
    if (!loaded.ok) {
      if (loaded.follow.length > 0) this.#watcher.follow([...followed(former), ...loaded.follow])
      this.#refused(renderProblems(loaded.problems))
      return { ok: false, problems: loaded.problems }
    }
    const { snapshot, notes } = loaded
    const { digest, candidate } = snapshot
    this.#watcher.follow(followed(snapshot))
    const deferred = fixedChanges(former, snapshot)
    const changed = digest !== former.digest
    if (!forced && !changed) return { ok: true, digest, changed, notes, deferred }
    for (const key of deferred) {
      this.#log.warn({ key }, 'Changed in the file, but takes effect only at the next start')
    }
    await this.#governor.reload(snapshot)
    this.#governor.metrics.configReloads.inc({ result: 'ok' })
    this.#log.info(
      { digest, ...(candidate !== null && { candidate: candidate.digest }) },
      'Configuration reloaded',
    )
    return { ok: true, digest, changed, notes, deferred }
  }

  #refused(why: unknown): void {
    this.#governor.metrics.configReloads.inc({ result: 'refused' })
    this.#log.error(
      { problems: String(why) },
      'Configuration not reloaded: the last good one stays',
    )
  }
}

/** Files whose change is one of the configuration, though the file itself stays as it is. */
export function followed({ secretFiles, candidate }: Snapshot): string[] {
  const more = candidate === null ? [] : [candidate.file, ...candidate.secretFiles]
  return [...secretFiles, ...more]
}

/** What was opened at start and is not opened again by a reload. */
function fixed(snapshot: Snapshot): [string, unknown][] {
  const { listen, auth, audit, timeouts } = snapshot
  return [
    ['listen', { ...listen, tls: tlsKind(listen) }],
    ['auth.keys', auth.keys],
    ['limit_store', snapshot.limitStore],
    ['sidecars', snapshot.sidecars],
    ['timeouts.client_headers', timeouts.clientHeadersMs],
    ['timeouts.commit', timeouts.commitMs],
    ['audit.path', audit.path],
    ['audit.local_max', audit.localBytesMax],
    ['audit.checkpoints', audit.checkpoints],
    ['audit.ack', audit.ack],
    ['audit.ship', audit.ship?.kind ?? null],
  ]
}

/** Rotated files are taken; whether there is TLS at all, and who is asked for a certificate, is fixed. */
function tlsKind({ tls }: Snapshot['listen']): unknown {
  return tls === null ? null : [tls.clientCa !== null, tls.clientAuth]
}

function fixedChanges(former: Snapshot, next: Snapshot): string[] {
  const before = fixed(former)
  return fixed(next)
    .filter(([, value], index) => JSON.stringify(value) !== JSON.stringify(before[index]![1]))
    .map(([key]) => key)
}
