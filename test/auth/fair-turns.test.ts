import t from 'tap'

import { FairTurns } from '../../src/auth/fair-turns.ts'

/** Lets what is ready go on. */
const tick = () => new Promise((resolve) => setImmediate(resolve))

function subject(atOnceMax: number, waitingMax: number) {
  const turns = new FairTurns({ atOnceMax, waitingMax })
  const log: string[] = []
  const enter = (source: string) => {
    turns.enter(source).then(
      () => log.push(source),
      (error: { code: string }) => log.push(`${source} ${error.code}`),
    )
  }
  return { turns, log, enter }
}

t.test('each source has its turn, however many another one sends', async (t) => {
  const { turns, log, enter } = subject(1, 100)
  for (let count = 0; count < 5; count++) enter('flood')
  enter('a')
  enter('b')
  await tick()
  for (let count = 0; count < 7; count++) {
    turns.leave()
    await tick()
  }
  t.strictSame(log, ['flood', 'flood', 'a', 'b', 'flood', 'flood', 'flood'])
  enter('c')
  await tick()
  t.equal(log.at(-1), 'c', 'and the place is free again')
})

t.test('when all places are taken the source with the most gives one up', async (t) => {
  const { turns, log, enter } = subject(1, 4)
  for (let count = 0; count < 6; count++) enter('flood')
  await tick()
  t.strictSame(log, ['flood', 'flood AUTH_BUSY'], 'its own are refused')
  enter('a')
  enter('b')
  enter('a')
  await tick()
  t.strictSame(log.slice(2).toSorted(), ['a AUTH_BUSY', 'flood AUTH_BUSY', 'flood AUTH_BUSY'])
  for (let count = 0; count < 4; count++) {
    turns.leave()
    await tick()
  }
  t.strictSame(log.slice(5), ['flood', 'a', 'b', 'flood'])
})
