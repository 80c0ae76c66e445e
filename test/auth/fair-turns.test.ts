import t from 'tap'

import { FairTurns } from '../../src/auth/fair-turns.ts'

/** Lets what is ready go on. */
const tick = () => new Promise((resolve) => setImmediate(resolve))

function subject(atOnceMax: number, waitingMax: number) {
  const turns = new FairTurns({ atOnceMax, waitingMax })
  const log: string[] = []
  const enter = (source: string, about = 'key', isSuspect = false) => {
    turns.enter({ about, source, isSuspect }).then(
      () => log.push(source),
      (error: { code: string }) => log.push(`${source} ${error.code}`),
    )
  }
  const leave = async (count: number) => {
    await tick()
    for (let left = count; left > 0; left--) {
      turns.leave()
      await tick()
    }
  }
  return { turns, log, enter, leave }
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

t.test('each key has its turn, from however many addresses one is guessed at', async (t) => {
  const { log, enter, leave } = subject(1, 8)
  for (let count = 0; count < 9; count++) enter(`thief ${count}`, 'guessed')
  enter('owner', 'another')
  await leave(2)
  t.strictSame(log, ['thief 0', 'thief 8 AUTH_BUSY', 'thief 1', 'owner'])
})

t.test('who was wrong before waits for who was not, and is let in now and then', async (t) => {
  const { log, enter, leave } = subject(1, 8)
  enter('first')
  for (let count = 0; count < 3; count++) enter(`thief ${count}`, 'key', true)
  for (let count = 0; count < 5; count++) enter(`owner ${count}`)
  enter('late owner')
  enter('late thief', 'key', true)
  await leave(8)
  t.strictSame(log, [
    'first',
    'late thief AUTH_BUSY',
    'thief 2 AUTH_BUSY',
    'owner 0',
    'owner 1',
    'owner 2',
    'thief 0',
    'owner 3',
    'owner 4',
    'late owner',
    'thief 1',
  ])
})
