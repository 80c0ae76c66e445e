import { spawnSync } from 'node:child_process'
import { env } from 'node:process'

import { aptInstall, CAN_INSTALL } from './apt.ts'

/** strace for tests that see, or spoil, the system calls of a process. */

/** What a traced process gets: it writes nothing that is not the product's, so no compile cache. */
export const TRACED_ENV = { ...env, NODE_DISABLE_COMPILE_CACHE: '1' }

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
  if (!CAN_INSTALL) return WAYS
  try {
    aptInstall('strace')
  } catch {
    return WAYS
  }
  return works() ? false : WAYS
}
