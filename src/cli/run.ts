import { type Changed, watchConfig } from '../config/watch.ts'
import { Governor } from '../governor.ts'
import { loadConfig, renderProblems } from '../load-config.ts'
import { createLog } from '../log.ts'
import { followed, Reloader } from '../reload.ts'
import { banner } from './banner.ts'
import { devKey, tryOut } from './dev.ts'

/** What `governor run` is given by the command line. */
export interface RunOptions {
  readonly file: string
  readonly dev: boolean
  readonly version: string
  readonly write: (text: string) => void
  /** Where is said why nothing was started. */
  readonly writeError: (text: string) => void
  /** Stops the sidecar: SIGTERM or SIGINT. */
  readonly stopped: Promise<unknown>
  /** Called with what to do on SIGHUP. */
  readonly onHangup: (reload: () => void) => void
}

/** `governor run`: the sidecar, until it is told to stop. */
export async function run(options: RunOptions): Promise<number> {
  const { file, dev, version, write, writeError } = options
  const loaded = loadConfig(file, { forRun: true })
  if (!loaded.ok) {
    writeError(renderProblems(loaded.problems, 'Nothing was started.', loaded.excerptOf))
    return loaded.missing ? 2 : 1
  }
  const log = createLog('info')
  const { digest } = loaded.snapshot
  const secretFiles = followed(loaded.snapshot)
  const early: Changed[] = []
  let changed = (what: Changed): void => void early.push(what)
  // From before the start, so that no change during it is missed.
  const watcher = watchConfig(file, (what) => changed(what), { digest, secretFiles })
  // Secrets of the environment, say, may have changed while no file did.
  options.onHangup(() => changed('secret'))
  let governor: Governor
  try {
    governor = await Governor.start({ snapshot: loaded.snapshot, log, version })
  } catch (error) {
    watcher.close()
    writeError(`${(error as Error).message}\nNothing was started.\n`)
    return 2
  }
  for (const note of loaded.notes) log.warn({ line: note.line, path: note.path }, note.message)
  write(banner(governor.snapshot, governor, governor.recorder.recovered))
  if (dev) write(await tryOut(governor, await devKey(governor, version)))

  const reloader = new Reloader(governor, log, { file, watcher })
  changed = (what) => void reloader.request(what === 'secret')
  for (const what of early) changed(what)
  governor.reloadBy(() => reloader.request(true))
  await options.stopped
  changed = () => {}
  watcher.close()
  log.info('Draining: no new connections, calls under way may end')
  await governor.stop()
  log.info('Stopped')
  return 0
}
