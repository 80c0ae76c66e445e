import t from 'tap'

import { Group } from '../../src/upstream/group.ts'

/** Goal: calls are spread by weight among the first priority of which something is available. */

function member(name: string, priority = 0, weight = 1) {
  return { name, priority, weight, isUp: true, available: (): boolean => true }
}

type Each = ReturnType<typeof member>

function picks(group: Group<Each>, count: number): string {
  return Array.from({ length: count }, () => group.pick(() => true, 0)?.name ?? '-').join('')
}

t.test('weights are kept exactly and smoothly', async (t) => {
  const group = new Group([member('a', 0, 5), member('b'), member('c')])
  t.equal(picks(group, 7), 'aabacaa')
  t.equal(picks(group, 7), 'aabacaa')
})

t.test('a higher priority waits until none of the lower is there', async (t) => {
  const [a, b, c] = [member('a'), member('b'), member('c', 1)]
  const up = new Set([a, b, c])
  for (const each of up) each.available = () => up.has(each)
  const group = new Group([c, a, b])
  t.equal(picks(group, 4), 'abab')
  up.delete(a)
  t.equal(picks(group, 3), 'bbb')
  up.delete(b)
  t.equal(picks(group, 3), 'ccc')
  up.add(a)
  t.equal(picks(group, 2), 'aa')
  up.clear()
  t.equal(picks(group, 1), '-')
})

t.test('those that were tried or do not serve the call are left out', async (t) => {
  const [a, b, c] = [member('a'), member('b'), member('c', 1)]
  const group = new Group([a, b, c])
  t.equal(group.pick(() => true, 0, [a])?.name, 'b')
  t.equal(group.pick(({ name }) => name !== 'b', 0, [a])?.name, 'c')
  t.equal(
    group.pick(() => false, 0),
    null,
  )
})
