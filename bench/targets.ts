import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env, execPath } from 'node:process'
import { promisify } from 'node:util'

import { Child } from './child.ts'

const ROOT = new URL('../', import.meta.url).pathname
const BENCH = new URL('./', import.meta.url).pathname
const CREDENTIAL = 'sk-bench-0123456789abcdef0123456789abcdef'
/** `f_type` of tmpfs and ramfs in statfs(2): memory, where an fsync costs nothing. */
const MEMORY_FILE_SYSTEMS = new Set([0x01021994, 0x858458f6])

/** A directory on a disk for keys and audit: the system's temporary one unless that is memory. */
export function workDirectory(): string {
  const isMemory = MEMORY_FILE_SYSTEMS.has(statfsSync(tmpdir()).type)
  const parent = isMemory ? join(BENCH, '.work') : tmpdir()
  mkdirSync(parent, { recursive: true })
  return mkdtempSync(join(parent, 'governor-bench-'))
}

export function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
}

export function startUpstream(
  kind: 'fake-upstream' | 'session-upstream' = 'fake-upstream',
): Promise<Child> {
  return Child.start({ name: 'fake upstream', command: [script(kind)], core: 'load' })
}

export function startLoad(kind: 'call' | 'stream' | 'session'): Promise<Child> {
  return Child.start({ name: `${kind} load`, command: [script(`${kind}-load`)], core: 'load' })
}

export function startFlood(): Promise<Child> {
  return Child.start({ name: 'flood', command: [script('key-flood')], core: 'load' })
}

export function startBare(
  kind: 'forwarder' | 'streamer' | 'relay',
  upstream: Child,
  nodeFlags: readonly string[] = [],
): Promise<Child> {
  const command = [script(`bare-${kind}`), upstream.url]
  return Child.start({ name: `bare ${kind}`, command, core: 'proxy', nodeFlags })
}

export interface RunningGovernor {
  readonly child: Child
  /** A key of its own store, for `authorization`. */
  readonly key: string
}

export interface GovernorOptions {
  readonly nodeFlags?: readonly string[]
  /** `limit_store` of its governance.yaml. */
  readonly limitStore?: string
}

/** Governor as `npm start` runs it, with everything on, its files in `directory`. */
export async function startGovernor(
  upstream: Child,
  directory: string,
  { nodeFlags = [], limitStore = 'memory' }: GovernorOptions = {},
): Promise<RunningGovernor> {
  const config = join(directory, 'governance.yaml')
  copyFileSync(join(BENCH, 'governance.yaml'), config)
  const environment = {
    MALLOC_ARENA_MAX: '1',
    MALLOC_TRIM_THRESHOLD_: '131072',
    BENCH_UPSTREAM: upstream.url,
    BENCH_CREDENTIAL: CREDENTIAL,
    BENCH_LIMIT_STORE: limitStore,
    NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/governor'),
  }
  const main = join(ROOT, 'src/main.ts')
  const key = await createKey(main, config, environment)
  const child = await Child.start({
    name: 'Governor',
    command: [main, 'run', '--config', config],
    core: 'proxy',
    nodeFlags: [
      '--max-semi-space-size=4',
      '--max-old-space-size=384',
      '--v8-pool-size=1',
      '--concurrent-recompilation-queue-length=4',
      '--import',
      join(ROOT, 'src/require-node.mjs'),
      ...nodeFlags,
    ],
    environment,
    urlFrom: (output) => /proxy +(http:\/\/127\.0\.0\.1:\d+)/.exec(output)?.[1] ?? null,
  })
  return { child, key }
}

async function createKey(
  main: string,
  config: string,
  environment: Readonly<Record<string, string>>,
): Promise<string> {
  const owner = ['--tenant', 'bench', '--name', 'bench', '--user', 'load', '--role', 'developer']
  const { stdout } = await promisify(execFile)(
    execPath,
    [main, 'keys', 'create', '--config', config, ...owner, '--label', 'team=bench'],
    { env: { ...env, ...environment } },
  )
  return stdout.trim().split('\n').at(-1)!
}

function script(name: string): string {
  return join(BENCH, `${name}.ts`)
}
