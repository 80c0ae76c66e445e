import t from 'tap'

import { audit, type Evidence } from '../campaign/crash-audit.ts'
import { crashCampaign } from '../campaign/crash.ts'
import { startPostgres } from '../support/postgres.ts'

/** The short form of `npm run campaign crash`. */

t.test(
  'ten times kill -9 under load lose nothing that anybody saw, and ship each entry once',
  async (t) => {
    const postgres = await startPostgres(t)
    const directory = t.testdir()
    const report = await crashCampaign({ directory, postgres, times: 10, seed: 20_261_121 })
    t.strictSame(report.problems, [])
    t.ok(report.answers > 0, `${report.answers} answers`)
    t.ok(report.calls > 0, `${report.calls} calls upstream`)
    t.ok(report.interrupted > 0, `${report.interrupted} calls were interrupted`)
    t.ok(report.decisions >= report.answers)
    t.ok(report.shipped > report.decisions, `${report.shipped} entries were shipped`)
    t.comment(report)
  },
)

t.test('and the check would notice', async (t) => {
  const decision = { kind: 'decision', requestId: 'a' }
  const allowed = { decision: 'allow', forward: true, received: { sha256: 'x' } }
  const sound: Evidence = {
    entries: [
      { ...decision, body: allowed },
      { kind: 'outcome', requestId: 'a', body: { outcome: 'complete' } },
    ],
    answers: [{ serial: 1, requestId: 'a', status: 200, code: '', sha256: 'x' }],
    calls: [{ serial: 1, sha256: 'x' }],
    exitCode: 0,
    verified: { code: 0, stdout: '' },
    shipping: { code: 0, stdout: '', local: ['1', '2'], there: ['1', '2'] },
  }
  const shipping = sound.shipping!
  t.strictSame(audit(sound).problems, [])
  const [entry, outcome] = sound.entries as [Evidence['entries'][0], Evidence['entries'][0]]
  const deny = { ...decision, body: { decision: 'deny', status: 403, received: { sha256: 'x' } } }
  for (const [name, evidence] of [
    ['no outcome', { entries: [entry] }],
    ['two outcomes', { entries: [entry, outcome, outcome] }],
    ['no decision', { entries: [] }],
    ['other bytes', { calls: [{ serial: 1, sha256: 'y' }] }],
    ['twice upstream', { calls: [...sound.calls, ...sound.calls] }],
    ['a denied call that was answered', { entries: [deny] }],
    ['a sidecar that does not end', { exitCode: 1 }],
    ['an entry that was not shipped', { shipping: { ...shipping, there: ['1'] } }],
    ['an entry that was shipped twice', { shipping: { ...shipping, there: ['1', '2', '2'] } }],
    ['an entry that was made up', { shipping: { ...shipping, there: ['1', '2', '3'] } }],
    ['a fork', { shipping: { ...shipping, code: 1 } }],
    ['a chain that does not hold', { verified: { code: 1, stdout: '' } }],
  ] satisfies [string, Partial<Evidence>][]) {
    t.not(audit({ ...sound, ...evidence }).problems.length, 0, name)
  }
})
