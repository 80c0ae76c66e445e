import { join } from 'node:path'
import process, { stderr, stdout } from 'node:process'
import { parseArgs } from 'node:util'

import { freePort } from '../support/free-port.ts'
import { PostgresServer } from '../support/postgres-server.ts'
import { ROOT } from '../support/start-governor.ts'
import { cannotTrace } from '../support/strace.ts'
import { crashCampaign } from './crash.ts'
import { faultMatrix } from './faults.ts'
import { fuzzSockets } from './fuzz-sockets.ts'
import { fuzzCampaign } from './fuzz.ts'
import { limitsCampaign } from './limits.ts'
import { mutationCampaign } from './mutate.ts'
import { powerCampaign } from './power.ts'

/**
 * `npm run campaign crash -- [--times 200] [--seed 1] [--directory DIR]`: the long form of what a test does
 * briefly. The same seed repeats the same choices; a campaign that was ended goes on where it was.
 * `npm run campaign mutate -- [--times 10000] [--seed 1]` alters a signed log at random and verifies it.
 * `npm run campaign power -- [--times 2000] [--seed 1] [--directory DIR]` traces a writer and rebuilds
 * the disk as a power loss may have left it; one that was ended goes on where it was, too.
 * `npm run campaign faults` makes each system call of the writer fail in turn, or kills it there.
 * `npm run campaign fuzz -- [--times 50000] [--seed 1] [--directory DIR]` sends a sidecar what is nearly
 * HTTP, JSON, forms and event streams, from both sides; it goes on where it was, and keeps what went wrong.
 * With `--minutes 10` no case begins later. With `--target sockets` it is upgrades, frames and events of sessions over WebSocket.
 * `npm run campaign limits -- [--times 1000000] [--seed 1] [--directory DIR]` lets eight processes hammer one
 * tenant with so many calls through Redis, some killed meanwhile; it goes on where it was.
 */
const TIMES: Readonly<Record<string, string>> = {
  crash: '200',
  faults: String(Number.MAX_SAFE_INTEGER),
  fuzz: '50000',
  limits: '1000000',
  mutate: '10000',
  power: '2000',
}
const USAGE =
  'Usage: npm run campaign crash|fuzz|limits|mutate|power|faults -- [--times N] [--minutes N] [--seed 1] [--directory DIR] [--target sockets]\n'

function given() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        times: { type: 'string' },
        seed: { type: 'string', default: '1' },
        directory: { type: 'string' },
        minutes: { type: 'string' },
        target: { type: 'string', default: 'http' },
      },
    })
  } catch (error) {
    stderr.write(`${(error as Error).message}\n${USAGE}`)
    return process.exit(2)
  }
}

const { values, positionals } = given()
const [name] = positionals
const TARGETS: ReadonlySet<string> = new Set(['http', 'sockets'])
const times = Number(values.times ?? TIMES[name ?? ''])
const seed = Number(values.seed)
const withinMs = Number(values.minutes ?? Number.POSITIVE_INFINITY) * 60_000

function say(line: string): void {
  stdout.write(`${line}\n`)
}

function finish(problems: readonly string[], well: string): void {
  for (const problem of problems) say(problem)
  say(problems.length === 0 ? well : `${problems.length} problems.`)
  process.exitCode = problems.length === 0 ? 0 : 1
}

const isNumbered =
  Number.isSafeInteger(times) && times >= 1 && Number.isSafeInteger(seed) && withinMs > 0
const directory = values.directory ?? join(ROOT, `data/campaign/${name}-${seed}`)
if (name === 'crash' && isNumbered) {
  const postgres = new PostgresServer(await freePort())
  await postgres.initialise()
  await postgres.start()
  let report: Awaited<ReturnType<typeof crashCampaign>>
  try {
    report = await crashCampaign({ postgres, directory, times, seed, say, loadMsMax: 1500 })
  } finally {
    await postgres.remove()
  }
  const { problems, ...figures } = report
  say(JSON.stringify(figures))
  finish(problems, 'The audit survived.')
} else if (name === 'mutate' && isNumbered) {
  const { missed, tried } = mutationCampaign({ directory, times, seed })
  say(JSON.stringify(tried))
  finish(missed, 'Every alteration was found.')
} else if (name === 'power' && isNumbered) {
  const why = cannotTrace()
  if (why !== false) throw new Error(why)
  const { problems, ...figures } = await powerCampaign({ directory, times, seed, say })
  say(JSON.stringify(figures))
  finish(problems, 'Nothing acknowledged was lost.')
} else if (name === 'fuzz' && isNumbered && TARGETS.has(values.target)) {
  const campaign = values.target === 'sockets' ? fuzzSockets : fuzzCampaign
  const { problems, ...figures } = await campaign({ directory, times, seed, withinMs, say })
  say(JSON.stringify(figures))
  finish(problems, 'Nothing fell, hung or slipped through.')
} else if (name === 'limits' && isNumbered) {
  const { problems, ...figures } = await limitsCampaign({ directory, calls: times, seed, say })
  say(JSON.stringify(figures))
  finish(problems, 'No ceiling was passed, and all places returned.')
} else if (name === 'faults' && isNumbered) {
  const why = cannotTrace()
  if (why !== false) throw new Error(why)
  const { problems, ...figures } = await faultMatrix({ directory, seed, fieldsMax: times, say })
  say(JSON.stringify(figures))
  finish(problems, 'The audit survived.')
} else {
  stderr.write(USAGE)
  process.exitCode = 2
}
