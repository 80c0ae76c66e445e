import t from 'tap'

import { Failures } from '../../src/auth/failures.ts'

t.test('ten wrong secrets are free, then one a second', async (t) => {
  const failures = new Failures()
  for (let count = 0; count < 10; count++) {
    t.equal(failures.waitMs('a', 1000), 0)
    failures.note('a', 1000)
  }
  t.equal(failures.waitMs('a', 1000), 1000)
  t.equal(failures.waitMs('a', 1600), 400)
  t.equal(failures.waitMs('b', 1000), 0, 'another pair is not slowed')
  t.equal(failures.waitMs('a', 2000), 0)
  failures.note('a', 2000)
  t.equal(failures.waitMs('a', 2000), 1000)
  t.equal(failures.waitMs('a', 100_000), 0)
})

t.test('who goes on failing waits two seconds at most', async (t) => {
  const failures = new Failures()
  for (let count = 0; count < 1000; count++) failures.note('a', 0)
  t.equal(failures.waitMs('a', 0), 2000)
})

t.test('the table is bounded, and those that fail now stay in it', async (t) => {
  const failures = new Failures()
  for (let count = 0; count < 20; count++) failures.note('victim', 0)
  for (let each = 0; each < 30_000; each++) {
    failures.note(`source ${each}`, 0)
    if (each % 1000 === 0) failures.note('victim', 0)
  }
  t.equal(failures.size, 10_000)
  t.equal(failures.waitMs('victim', 0), 2000)
})
