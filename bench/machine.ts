import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { resolve } from 'node:path'
import process from 'node:process'

import { canPin, CORE } from './child.ts'

/** Where and on what a run was made, so that figures are never compared across machines unseen. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGib: number
  readonly kernel: string
  readonly node: string
  /** Abbreviated commit, with `+` when files differ from it; null outside a repository. */
  readonly commit: string | null
  readonly date: string
  readonly pinning: string
  /** Of the directory with the keys and the audit log. */
  readonly fileSystem: string
}

export function describeMachine(directory: string): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    commit: commit(),
    date: new Date().toISOString(),
    pinning: canPin
      ? `proxies on core ${CORE.proxy}, load and upstream on core ${CORE.load} (taskset)`
      : 'none: taskset or a second core is missing',
    fileSystem: fileSystemOf(directory),
  }
}

function commit(): string | null {
  const head = git('rev-parse', '--short', 'HEAD')
  if (head === null) return null
  return git('status', '--porcelain', '--', '../src', '.') === '' ? head : `${head}+`
}

function git(...given: string[]): string | null {
  const { status, stdout } = spawnSync('git', given, { cwd: import.meta.dirname })
  return status === 0 ? stdout.toString().trim() : null
}

/** `ext4 on /dev/vda`, by the longest mount point that holds the directory. */
function fileSystemOf(directory: string): string {
  let found = { at: '', text: 'unknown' }
  for (const line of mounts()) {
    const [device = '', at = '', type = ''] = line.split(' ')
    const holds = at === '/' || resolve(directory).startsWith(`${at}/`)
    if (holds && at.length >= found.at.length) found = { at, text: `${type} on ${device}` }
  }
  return found.text
}

function mounts(): string[] {
  try {
    return readFileSync('/proc/self/mounts', 'utf8').trim().split('\n')
  } catch {
    return []
  }
}
