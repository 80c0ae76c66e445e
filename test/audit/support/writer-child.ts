import { writeSync } from 'node:fs'

import { decision, openWal, outcome } from './log.ts'

/**
 * A sidecar's writer under load, to be killed: prints `open`, then the id of each decision once it
 * was acknowledged. Half of the calls get an outcome.
 */
const [path = '', prefix = ''] = process.argv.slice(2)
process.on('SIGXFSZ', () => {})
const wal = await openWal(path)
writeSync(1, 'open\n')
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
      writeSync(1, `${id}\n`)
      if (next % 2 === 0) wal.queue(outcome(id))
    }
  }),
)
