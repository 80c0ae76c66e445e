import type { Command } from 'commander'

import { wallMs } from '../clock.ts'
import { loadConfig, renderProblems } from '../load-config.ts'
import type { Progress } from './progress.ts'

/** What the subcommands share: their output, the exit code, and the configuration they read. */

/** The snapshot of a file that was read without a problem. */
export type LoadedSnapshot = Extract<ReturnType<typeof loadConfig>, { ok: true }>['snapshot']

/** What a command of the command line is given by `main.ts`. */
export interface CommandContext {
  readonly version: string
  readonly write: (text: string) => void
  readonly writeError: (text: string) => void
  /** Sets the exit code: 0 done, 1 the answer is no, 2 cannot be done. */
  readonly finish: (code: number) => void
  /** Shows how far long work is where errors go to a terminal, unless results are written there meanwhile. */
  readonly progress: (what: string, results: 'on stdout' | 'at the end') => Progress
}

/** Adds the option every command has. */
export function withConfigOption(command: Command): Command {
  return command.option('--config <file>', 'the configuration', 'governance.yaml')
}

/** Loads the file and acts on it; problems of the file are written and end with 2. */
export async function withConfig(
  { version, write, writeError, finish }: CommandContext,
  file: string,
  act: (context: {
    snapshot: LoadedSnapshot
    version: string
    write: (text: string) => void
    writeError: (text: string) => void
  }) => Promise<number>,
  candidate: 'load' | 'ignore' = 'ignore',
): Promise<void> {
  const loaded = loadConfig(file, { forRun: false, candidate })
  if (!loaded.ok) {
    writeError(renderProblems(loaded.problems, '', loaded.excerptOf))
    finish(2)
    return
  }
  finish(await act({ snapshot: loaded.snapshot, version, write, writeError }))
}

/** The moment a `--since` names, microseconds since 1970; 0 without one. */
export function sinceUsOf(since: number | undefined): number {
  return since === undefined ? 0 : (wallMs() - since) * 1000
}
