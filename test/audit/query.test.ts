import { join } from 'node:path'

import t from 'tap'

import { decisionsSince } from '../../src/audit/query.ts'
import { AT_US, openWal, refusal } from './support/log.ts'

t.test('decisionsSince() gives the decisions of the window, oldest first', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  const hourUs = 3_600_000_000
  const entries = Array.from({ length: 5000 }, (_, index) => ({
    ...refusal(`r${index}`),
    occurredAtUs: AT_US + index * 60_000_000,
  }))
  await Promise.all(entries.map((entry) => wal.record(entry)))
  const found: string[] = []
  const sinceUs = AT_US + 5000 * 60_000_000 - hourUs
  for (const { body, occurredAtUs } of decisionsSince(path, sinceUs)) {
    t.ok(occurredAtUs >= sinceUs)
    found.push((JSON.parse(body) as { request_id: string }).request_id)
  }
  t.strictSame(
    found,
    Array.from({ length: 60 }, (_, index) => `r${4940 + index}`),
  )
  t.equal([...decisionsSince(path, 0)].length, 5000)
  t.strictSame([...decisionsSince(join(path, '..', 'absent.db'), 0)], [])
  await wal.close()
})
