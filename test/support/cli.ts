import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { env as processEnv, execPath } from 'node:process'
import { fileURLToPath } from 'node:url'

/** Where `governor` commands are run from in tests. */
export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** What a command did. */
export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs the real command line in a process of its own, in `cwd`. */
export async function governor(args: readonly string[], cwd = REPOSITORY): Promise<Ran> {
  const child = spawn(execPath, [MAIN, ...args], { cwd, env: processEnv })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, err }
}
