import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { startGovernor } from '../support/start-governor.ts'

t.test('a log cut short is found by the checkpoints that were published', async (t) => {
  const audit = '{ path: audit.db, checkpoints: { file: published/checkpoints } }'
  const site = await startGovernor(t, { audit })
  for (let call = 0; call < 3; call++) {
    const { status } = await site.send({
      path: '/v1/chat/completions',
      body: { model: 'gpt-5', messages: [{ role: 'user', content: 'hi' }] },
    })
    t.equal(status, 403)
  }
  await site.governor.stop(0)
  const holds = await site.cli('audit', 'verify', '--strict')
  t.equal(holds.code, 0, holds.stdout)
  t.match(holds.stdout, /The audit log holds: .* entries under a signed checkpoint/)
  const published = readFileSync(join(site.directory, 'published/checkpoints'), 'utf8')
  t.match(published, /^governor\/audit\/[0-9a-f]{32}\/1\n\d+\n\S{44}\n\n— governor-audit \S+\n\n$/)

  const kept = await site.cli('audit', 'prune', '--older-than', '1d')
  t.equal(kept.code, 0)
  t.match(kept.stdout, /Nothing to remove/)

  const db = new Database(site.auditPath)
  db.exec(
    `DELETE FROM entries WHERE seq > 3 AND chain = (SELECT id FROM chains WHERE role = 'run');
     UPDATE chains SET state = 'open' WHERE role = 'run'`,
  )
  db.close()
  const cut = await site.cli('audit', 'verify')
  t.equal(cut.code, 1)
  t.match(cut.stdout, /Entries are missing: a published checkpoint covers \d+/)

  const gone = new Database(site.auditPath)
  gone.exec(
    `DELETE FROM entries WHERE chain = (SELECT id FROM chains WHERE role = 'run');
     DELETE FROM chains WHERE role = 'run'`,
  )
  gone.close()
  const replaced = await site.cli('audit', 'verify', '--strict')
  t.equal(replaced.code, 2)
  t.match(replaced.stdout, /Published and not in this log: governor\/audit\/[0-9a-f]{32}\/1/)
})
