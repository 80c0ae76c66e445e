import { constants, getPriority, setPriority } from 'node:os'
import process from 'node:process'
import { parentPort } from 'node:worker_threads'

import bcrypt from 'bcrypt'

/** The thread that looks at guessed secrets, with what the others leave of the processor. */

/** Above that of the process: some tenth of a core that is wanted by others, all of one that is not. */
const MORE_NICE = 10

/** A secret and the hash it may be the one behind. */
export interface Comparison {
  readonly secret: string
  readonly hash: string
}

// Of this thread alone: what setpriority(2) calls a process is a thread on Linux, and only there.
if (process.platform === 'linux') {
  try {
    setPriority(0, Math.min(constants.priority.PRIORITY_LOW, getPriority() + MORE_NICE))
  } catch {
    // Where that is forbidden it competes like any other.
  }
}

parentPort?.on('message', ({ secret, hash }: Comparison) => {
  const port = parentPort
  let isRight = false
  try {
    isRight = bcrypt.compareSync(secret, hash)
  } catch {
    // A hash that is none opens nothing, as for bcrypt.compare.
  }
  port?.postMessage(isRight)
})
