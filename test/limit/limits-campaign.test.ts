import t from 'tap'

import { mostAtOnce, mostInWindow, mostOfKey } from '../campaign/limits-oracle.ts'
import { limitsCampaign } from '../campaign/limits.ts'

/** The short form of `npm run campaign limits`. */

t.test('eight processes, 20,000 calls: no ceiling is passed, and all places return', async (t) => {
  const options = { directory: t.testdir(), calls: 20_000, seed: 20_261_121, callsOfRound: 5_000 }
  const report = await limitsCampaign(options)
  t.strictSame(report.problems, [])
  t.ok(report.calls >= 20_000)
  t.ok(report.passed > 1_000, `${report.passed} passed`)
  t.ok(report.killed > 0, `${report.killed} processes were killed`)
  t.equal(report.lost, 0)
  t.comment(report)
  t.strictSame(await limitsCampaign(options), report, 'one that is over is over')
})

function grant(sentMs: number, settledMs: number, key = 0) {
  return { sentMs, heardMs: sentMs + 1, settledMs, key, spent: 0 }
}

t.test('and the check would notice', async (t) => {
  const grants = [
    grant(0, 50),
    grant(10, 12),
    grant(40, 60),
    grant(100, 140, 1),
    grant(1_000, 1_001),
  ]
  t.equal(mostInWindow(grants, 41), 3)
  t.equal(mostInWindow(grants, 40), 2, 'the third was heard of after that')
  t.equal(mostInWindow(grants, 101), 4)
  t.equal(mostInWindow([], 10), 0)
  t.equal(mostAtOnce(grants), 2)
  t.equal(mostAtOnce([grant(0, 5), grant(4, 9)]), 1, 'heard of as the other ended')
  t.equal(mostOfKey(grants), 4)
})
