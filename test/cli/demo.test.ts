import t from 'tap'

import { governor } from '../support/cli.ts'

/** Goal: what the README shows first works on any machine, offline, and leaves nothing behind. */

t.test('governor demo shows every kind of answer, verifies the log and exits 0', async (t) => {
  const { code, out, err } = await governor(['demo', '--config', 'mine.yaml'], t.testdir())
  t.equal(code, 0, out + err)
  t.equal(err, '')
  for (const shown of [
    'mine.yaml is not read',
    'POLICY_DENIED',
    'LIMIT_EXCEEDED',
    'Mail [EMAIL_1]',
    'The audit log holds',
  ]) {
    t.ok(out.includes(shown), shown)
  }
})
