import t from 'tap'

import { auditTailPostgres } from '../../src/cli/audit-tail-postgres.ts'
import { emptyDatabase, record, ship, twoPods } from '../audit/support/shipped.ts'
import { runSql } from '../support/postgres.ts'
import { until } from '../support/until.ts'

interface Line {
  readonly writer: string
  readonly epoch: number
  readonly seq: number
}

function collect(): { write: (text: string) => void; lines: () => Line[] } {
  let out = ''
  return {
    write: (text) => void (out += text),
    lines: () =>
      out
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Line),
  }
}

t.test(
  'audit tail -f --url shows the last entries of all pods, and each that arrives once',
  async (t) => {
    const url = await emptyDatabase(t)
    const directory = t.testdir()
    const [one, two] = await twoPods(directory, url)
    const stop = new AbortController()
    const { write, lines } = collect()
    const options = { url, lines: 5, follow: true, json: true, write, signal: stop.signal }
    const done = auditTailPostgres(options)
    await until('the last entries', () => lines().length >= 5)
    t.equal(lines().length, 5)
    await record(one, 3)
    await record(two, 300)
    await Promise.all([ship(url, one), ship(url, two)])
    const [row] = await runSql<{ n: number }>(
      url,
      `SELECT (SELECT count(*) FROM governor.entries)::int +
      (SELECT count(*) FROM governor.dead_letters)::int AS n`,
    )
    const arrived = (row?.n ?? 0) - 60
    await until('those that arrived', () => lines().length >= 5 + arrived, 60_000)
    stop.abort()
    t.equal(await done, 0)
    const names = lines().map(({ writer, epoch, seq }) => `${writer}:${epoch}:${seq}`)
    t.equal(names.length, 5 + arrived)
    t.equal(new Set(names).size, names.length)
    for (const writer of new Set(
      lines()
        .slice(5)
        .map((line) => line.writer),
    )) {
      const seqs = lines()
        .slice(5)
        .filter((line) => line.writer === writer)
        .map(({ seq }) => seq)
      t.strictSame(
        seqs,
        seqs.map((_, index) => index + 1),
        'in order, without a gap',
      )
    }
  },
)

t.test('audit tail --url says when there is no database to ask', async (t) => {
  const { signal } = new AbortController()
  let out = ''
  const write = (text: string) => void (out += text)
  const asked = { lines: 5, follow: false, json: false, write, signal }
  t.equal(await auditTailPostgres({ ...asked, url: null }), 2)
  t.equal(await auditTailPostgres({ ...asked, url: 'postgres://127.0.0.1:1/x' }), 2)
  t.match(out, /There is no database to ask[^]*Cannot ask postgres:\/\/127.0.0.1:1\/x/)
})
