import { join } from 'node:path'
import process, { stderr, stdout } from 'node:process'
import { parseArgs } from 'node:util'

import { ROOT } from '../support/start-governor.ts'
import { crashCampaign } from './crash.ts'

/**
 * `npm run campaign crash -- [--times 50] [--seed 1] [--directory DIR]`: the long form of what a test does
 * briefly. The same seed repeats the same choices; a campaign that was ended goes on where it was.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    times: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    directory: { type: 'string' },
  },
})
const [name] = positionals
const times = Number(values.times)
const seed = Number(values.seed)

function say(line: string): void {
  stdout.write(`${line}\n`)
}

if (name !== 'crash' || !Number.isSafeInteger(times) || times < 1 || !Number.isSafeInteger(seed)) {
  stderr.write('Usage: npm run campaign crash -- [--times 50] [--seed 1] [--directory DIR]\n')
  process.exitCode = 2
} else {
  const directory = values.directory ?? join(ROOT, `data/campaign/crash-${seed}`)
  const { problems, ...figures } = await crashCampaign({
    directory,
    times,
    seed,
    say,
    loadMsMax: 1500,
  })
  say(JSON.stringify(figures))
  for (const problem of problems) say(problem)
  say(problems.length === 0 ? 'The audit survived.' : `${problems.length} problems.`)
  process.exitCode = problems.length === 0 ? 0 : 1
}
