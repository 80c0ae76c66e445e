import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import t from 'tap'

import { Shipping } from '../../src/audit/ship.ts'
import { createLog } from '../../src/log.ts'
import { createMetrics } from '../../src/metrics.ts'
import { runSql } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import { emptyDatabase, record } from './support/shipped.ts'

const WORKER = new URL('../../src/audit/ship-worker.ts', import.meta.url).href

/** The thread's program, which dies the first two times. */
function dyingProgram(directory: string): URL {
  const file = join(directory, 'dying.mjs')
  writeFileSync(
    file,
    `import { existsSync, writeFileSync } from 'node:fs'
    const mark = ['one', 'two'].map((name) => ${JSON.stringify(directory)} + '/' + name)
      .find((each) => !existsSync(each))
    if (mark === undefined) await import(${JSON.stringify(WORKER)})
    else {
      writeFileSync(mark, '')
      throw new Error('the thread broke')
    }`,
  )
  return pathToFileURL(file)
}

t.test('a shipping thread that dies is said, started again, and ships what waited', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'audit.db')
  const url = await emptyDatabase(t)
  await record(path, 5)
  const lines: string[] = []
  const shipping = Shipping.start({
    path,
    sink: { kind: 'postgres', url },
    writerId: randomBytes(16),
    localBytesMax: 2 ** 30,
    version: 'test',
    metrics: createMetrics(),
    log: createLog('info', { write: (line) => void lines.push(line) }),
    program: dyingProgram(directory),
  })
  t.teardown(() => shipping.drain(10_000))
  await until('the first death', () => !shipping.state.takes)
  t.equal(await shipping.arrived({ epoch: 1, seq: 1 }, 1), false, 'nobody waits for a dead thread')
  await until(
    'all entries',
    async () => {
      const [row] = await runSql<{ n: number }>(
        url,
        'SELECT count(*)::int AS n FROM governor.entries',
      )
      return (row?.n ?? 0) >= 12
    },
    60_000,
  )
  await until('its state', () => shipping.state.takes)
  const deaths = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  t.match(deaths.slice(0, 2), [
    { level: 'fatal', message: /^The shipping thread died; it is started again/, inMs: Number },
    { level: 'fatal', err: { message: 'the thread broke' } },
  ])
  t.equal(deaths.filter(({ level }) => level === 'fatal').length, 2)
})

t.test('a shipping thread that is dead at the end keeps nobody', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'audit.db')
  await record(path, 1)
  const lines: string[] = []
  const shipping = Shipping.start({
    path,
    sink: { kind: 'postgres', url: 'postgres://127.0.0.1:1/none' },
    writerId: randomBytes(16),
    localBytesMax: 2 ** 30,
    version: 'test',
    metrics: createMetrics(),
    log: createLog('info', { write: (line) => void lines.push(line) }),
    program: dyingProgram(directory),
  })
  await until('the first death', () => !shipping.state.takes)
  await shipping.drain(60_000)
  t.match(lines.at(-1), /Not shipped before the end/)
})
