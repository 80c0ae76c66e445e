import { writeSync } from 'node:fs'

import { decision, openWal, outcome } from './log.ts'

/**
 * A sidecar's writer under load, to be killed: prints `open`, then the id of each decision once it
 * was acknowledged. Half of the calls get an outcome.
 */
const [path = '', prefix = ''] = process.argv.slice(2)
process.on('SIGXFSZ', () => {})

/** All of it, also into a pipe that is full and does not block. */
function say(line: string): void {
  let rest = Buffer.from(line)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}

const wal = await openWal(path, { signs: true })
say('open\n')
let next = 0
await Promise.all(
  Array.from({ length: 16 }, async () => {
    for (;;) {
      const id = `${prefix}-${next++}`
      try {
        await wal.record(decision(id, 'x'.repeat(700)))
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50))
        continue
      }
      say(`${id}\n`)
      if (next % 2 === 0) wal.queue(outcome(id))
    }
  }),
)
