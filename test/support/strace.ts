import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { getuid, platform } from 'node:process'

/** strace for tests that see, or spoil, the system calls of a process. */

const WAYS =
  'Cannot trace system calls: this needs Linux, strace and the right to trace, or root on Debian, ' +
  'where strace is installed'

function works(): boolean {
  return spawnSync('strace', ['-qq', '-o', '/dev/null', 'true']).status === 0
}

/**
 * Whether strace can be used; on Debian it is installed when root asks and it is missing. Answers
 * `false` or, as tap's `skip` wants it, why not.
 */
export function cannotTrace(): string | false {
  if (works()) return false
  if (platform !== 'linux' || getuid?.() !== 0 || !existsSync('/etc/debian_version')) return WAYS
  process.stderr.write('# no strace: apt-get install -y strace\n')
  try {
    execFileSync('apt-get', ['install', '-y', 'strace'], { stdio: 'ignore' })
  } catch {
    return WAYS
  }
  return works() ? false : WAYS
}
