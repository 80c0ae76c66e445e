import type { Snapshot } from '../config/snapshot.ts'
import { type Changed, type ConfigWatcher, watchConfig } from '../config/watch.ts'
import { Governor } from '../governor.ts'
import { loadConfig, type Loaded, renderProblems } from '../load-config.ts'
import { createLog, type Log } from '../log.ts'
import { banner } from './banner.ts'
import { devKey, tryOut } from './dev.ts'

export interface RunOptions {
  readonly file: string
  readonly dev: boolean
  readonly version: string
  readonly write: (text: string) => void
  /** Stops the sidecar: SIGTERM or SIGINT. */
  readonly stopped: Promise<unknown>
  /** Called with what to do on SIGHUP. */
  readonly onHangup: (reload: () => void) => void
}

/** `governor run`: the sidecar, until it is told to stop. */
export async function run(options: RunOptions): Promise<number> {
  const { file, dev, version, write } = options
  const loaded = loadConfig(file, { forRun: true })
  if (!loaded.ok) {
    write(renderProblems(loaded.problems, 'Nothing was started.'))
    return loaded.missing ? 2 : 1
  }
  const log = createLog('info')
  const { digest } = loaded.snapshot
  const secretFiles = followed(loaded.snapshot)
  const early: Changed[] = []
  let changed = (what: Changed): void => void early.push(what)
  // From before the start, so that no change during it is missed.
  const watcher = watchConfig(file, (what) => changed(what), { digest, secretFiles })
  let governor: Governor
  try {
    governor = await Governor.start({ snapshot: loaded.snapshot, log, version })
  } catch (error) {
    watcher.close()
    write(`${(error as Error).message}\nNothing was started.\n`)
    return 2
  }
  for (const note of loaded.notes) log.warn({ line: note.line, path: note.path }, note.message)
  write(banner(governor.snapshot, governor, governor.recorder.recovered))
  if (dev) write(await tryOut(governor, await devKey(governor, version)))

  const reloader = new Reloader(governor, log, { file, watcher })
  changed = (what) => reloader.request(what === 'secret')
  for (const what of early) changed(what)
  // Secrets of the environment, say, may have changed while no file did.
  options.onHangup(() => reloader.request(true))
  await options.stopped
  watcher.close()
  log.info('Draining: no new connections, calls under way may end')
  await governor.stop()
  log.info('Stopped')
  return 0
}

/** Loads a changed file and swaps the snapshot, one at a time; on any error the last good one stays. */
class Reloader {
  readonly #governor: Governor
  readonly #log: Log
  readonly #file: string
  readonly #watcher: ConfigWatcher
  #running = false
  #again = false
  #forced = false

  constructor(
    governor: Governor,
    log: Log,
    { file, watcher }: { readonly file: string; readonly watcher: ConfigWatcher },
  ) {
    this.#governor = governor
    this.#log = log
    this.#file = file
    this.#watcher = watcher
  }

  /** `forced` reloads a file that has not changed, since what it points to has. */
  request(forced = false): void {
    this.#forced ||= forced
    if (this.#running) this.#again = true
    else void this.#reload()
  }

  async #reload(): Promise<void> {
    this.#running = true
    do {
      this.#again = false
      const forced = this.#forced
      this.#forced = false
      try {
        await this.#take(loadConfig(this.#file, { forRun: true }), forced)
      } catch (error) {
        this.#refused(error)
      }
    } while (this.#again)
    this.#running = false
  }

  async #take(loaded: Loaded, forced: boolean): Promise<void> {
    if (!loaded.ok) {
      if (loaded.follow.length > 0) {
        this.#watcher.follow([...followed(this.#governor.snapshot), ...loaded.follow])
      }
      this.#refused(renderProblems(loaded.problems))
      return
    }
    const { snapshot } = loaded
    this.#watcher.follow(followed(snapshot))
    if (!forced && snapshot.digest === this.#governor.snapshot.digest) return
    for (const key of fixedChanges(this.#governor.snapshot, snapshot)) {
      this.#log.warn({ key }, 'Changed in the file, but takes effect only at the next start')
    }
    await this.#governor.reload(snapshot)
    this.#governor.metrics.configReloads.inc({ result: 'ok' })
    const { digest, candidate } = snapshot
    this.#log.info(
      { digest, ...(candidate !== null && { candidate: candidate.digest }) },
      'Configuration reloaded',
    )
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
function followed({ secretFiles, candidate }: Snapshot): string[] {
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
