import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'

import { appendOnce } from '../../src/audit/append-once.ts'
import { chainHasher, NO_HASH } from '../../src/audit/chain.ts'
import { CompactRange } from '../../src/audit/merkle.ts'
import { originOf } from '../../src/audit/note.ts'
import { keyListPath, nextKey, Signer } from '../../src/audit/signing-key.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { own, Writer } from '../../src/audit/writer.ts'
import { monotonicMs, wallMs } from '../../src/clock.ts'
import { decision, outcome, refusal } from '../audit/support/log.ts'
import { Seeded } from '../support/seeded.ts'

/**
 * A signed log with two writers, altered at random in every way somebody who can write the file, and
 * who even has the key that came later, could think of. Verification has to find each of them, take
 * the log as it was, and say of a cut behind the last checkpoint that the end is not attested.
 */

interface Row {
  readonly id: number
  readonly chain: number
  readonly seq: number
  readonly occurred_at: number
  readonly kind: string
  readonly request_id: string
  readonly awaits: number
  readonly hash: Buffer
  readonly body: Buffer
}

interface Made {
  readonly path: string
  readonly published: string
  readonly writerId: Buffer
  readonly rows: readonly Row[]
  /** Rows of the sidecar, which was killed; the other chain is a command's. */
  readonly sidecar: readonly Row[]
  readonly lastCheckpoint: Row
}

export interface Mutated {
  readonly tried: Readonly<Record<string, number>>
  readonly missed: readonly string[]
}

type Random = Seeded
type Mutation = (db: Database.Database, made: Made, random: Random) => string

export function makeSignedLog(directory: string): Made {
  const path = join(directory, 'base.db')
  const published = join(directory, 'published')
  appendOnce(path, 'test', [{ kind: 'admin', body: '{"kind":"admin","action":"keys.create"}' }])
  const writerId = Buffer.alloc(16, 7)
  const notes: string[] = []
  const writer = new Writer({
    path,
    epoch: 1,
    writerId,
    role: 'run',
    version: 'test',
    busyMs: 1000,
    pageBytesMax: 0,
    recover: false,
    continues: null,
    openCalls: [],
    signer: Signer.open(path, wallMs()),
    onCheckpoint: (note) => notes.push(note),
  })
  const append = (...entries: ReturnType<typeof decision>[]) => {
    writer.begin()
    for (const { kind, requestId, awaitsOutcome, body } of entries) {
      writer.append({ ...own(kind, requestId, wallMs() * 1000, body), awaits: awaitsOutcome })
    }
    writer.commit()
  }
  for (let round = 0; round < 3; round++) {
    append(decision(`r${round}`), refusal(`d${round}`))
    append(outcome(`r${round}`), refusal(`e${round}`))
    writer.prepareCheckpoint(monotonicMs() + (round + 1) * 3_600_000)
  }
  append(refusal('f1'), refusal('f2'))
  writer.abandon()
  writeFileSync(published, notes.map((note) => `${note}\n`).join(''))
  const db = new Database(path)
  db.pragma('wal_checkpoint(TRUNCATE)')
  const rows = db.prepare<[], Row>('SELECT * FROM entries ORDER BY id').all()
  db.close()
  const sidecar = rows.filter(({ chain }) => chain === 2)
  const lastCheckpoint = sidecar.findLast(({ kind }) => kind === 'checkpoint')!
  return { path, published, writerId, rows, sidecar, lastCheckpoint }
}

/** Alters a copy of the log `times` times; `missed` names what was not found. */
export function mutationCampaign(options: {
  readonly directory: string
  readonly times: number
  readonly seed: number
}): Mutated {
  rmSync(options.directory, { recursive: true, force: true })
  mkdirSync(options.directory, { recursive: true })
  const made = makeSignedLog(options.directory)
  const copy = join(options.directory, 'copy.db')
  const random = new Seeded(options.seed)
  const tried: Record<string, number> = {}
  const missed: string[] = []
  const attempt = (name: string, mutation: Mutation, wanted: number) => {
    copyFileSync(made.path, copy)
    copyFileSync(keyListPath(made.path), keyListPath(copy))
    copyFileSync(`${made.path}.key`, `${copy}.key`)
    const db = new Database(copy)
    db.pragma('journal_mode = DELETE')
    db.pragma('synchronous = OFF')
    const what = mutation(db, made, random)
    db.close()
    const found = verifyLog(copy, { strict: false, published: made.published })
    tried[name] = (tried[name] ?? 0) + 1
    if (found.exitCode !== wanted) missed.push(`${name}: ${what} gave ${found.exitCode}`)
    if (name === 'cut later' && !found.notes.some((note) => note.what.includes('not attested'))) {
      missed.push(`${name}: ${what} was not said to be unattested`)
    }
  }
  attempt('untouched', () => 'nothing', 0)
  const names = Object.keys(MUTATIONS)
  for (let time = 0; time < options.times; time++) {
    const name = names[time % names.length]!
    attempt(name, MUTATIONS[name]!, 1)
    if (time % 50 === 0) attempt('cut later', cutLater, 0)
  }
  return { tried, missed }
}

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'flip a bit': (db, { rows }, random) => {
    const row = pick(rows, random)
    const column = below(random, 3) === 0 ? 'hash' : 'body'
    const bytes = Buffer.from(row[column])
    const at = below(random, bytes.length)
    bytes[at] = bytes[at]! ^ (1 << below(random, 8))
    db.prepare(`UPDATE entries SET ${column} = ? WHERE id = ?`).run(bytes, row.id)
    return `${column} of entry ${row.id} byte ${at}`
  },
  'alter a column': (db, { rows }, random) => {
    const row = pick(rows, random)
    const [column, value] = [
      ['occurred_at', row.occurred_at + 1 + below(random, 1e6)],
      ['seq', row.seq + 100 + below(random, 1000)],
      ['awaits', 1 - row.awaits],
      ['kind', row.kind === 'admin' ? 'outcome' : 'admin'],
      ['request_id', `${row.request_id}x`],
    ][below(random, 5)]!
    db.prepare(`UPDATE entries SET ${column} = ? WHERE id = ?`).run(value, row.id)
    return `${column} of entry ${row.id}`
  },
  'alter a writer': (db, _made, random) => {
    const id = 1 + below(random, 2)
    const column = below(random, 2) === 0 ? 'epoch = epoch + 1' : 'writer_id = zeroblob(16)'
    db.exec(`UPDATE chains SET ${column} WHERE id = ${id}`)
    return `${column} of ${id}`
  },
  drop: (db, { rows, lastCheckpoint }, random) => {
    const row = pick(
      rows.filter(({ id }) => id <= lastCheckpoint.id),
      random,
    )
    db.prepare('DELETE FROM entries WHERE id = ?').run(row.id)
    return `entry ${row.id}`
  },
  double: (db, { rows }, random) => {
    const row = pick(rows, random)
    const seq = 1000 + below(random, 100)
    db.prepare(
      `INSERT INTO entries SELECT ?, chain, ?, occurred_at, kind, request_id, awaits, hash, body
       FROM entries WHERE id = ?`,
    ).run(1000, seq, row.id)
    return `entry ${row.id}`
  },
  swap: (db, { sidecar }, random) => {
    const a = pick(sidecar, random)
    const b = pick(
      sidecar.filter(({ id }) => id !== a.id),
      random,
    )
    const [x, y] = below(random, 2) === 0 ? [a, b] : [b, a]
    const move = db.prepare('UPDATE entries SET id = ? WHERE id = ?')
    move.run(-1, x.id)
    move.run(x.id, y.id)
    move.run(y.id, -1)
    return `${x.id} and ${y.id}`
  },
  'cut before the last checkpoint': (db, { lastCheckpoint }, random) => {
    const from = 2 + below(random, lastCheckpoint.seq - 2)
    db.prepare('DELETE FROM entries WHERE chain = 2 AND seq >= ?').run(from)
    return `from ${from}`
  },
  'rewrite with right hashes': (db, made, random) => {
    const row = pick(
      made.sidecar.filter(({ kind, id }) => kind === 'decision' && id < made.lastCheckpoint.id),
      random,
    )
    const body = Buffer.from(row.body.toString().replace(/(allow|deny)/, 'none'))
    rehash(db, made, (each) => (each.id === row.id ? body : each.body))
    return `entry ${row.id}`
  },
  're-sign with a newer key': (db, made, random) => {
    const copy = db.name
    nextKey(copy, wallMs() + 3_600_000).use(0)
    const signer = Signer.open(copy, wallMs() + 3_600_000)
    const victim = pick(
      made.sidecar.filter(({ kind }) => kind === 'decision'),
      random,
    )
    const tree = new CompactRange()
    let since = new CompactRange()
    let last: Buffer = Buffer.alloc(32)
    rehash(
      db,
      made,
      (each) => {
        if (each.id === victim.id) return Buffer.from(each.body.toString().replace('r', 'z'))
        if (each.kind !== 'checkpoint') return each.body
        tree.append(since)
        const range = since.hashes.map((hash) => Buffer.from(hash).toString('base64'))
        since = new CompactRange(tree.end)
        const origin = originOf(made.writerId.toString('hex'), 1)
        const note = signer.sign({ origin, size: tree.end, root: tree.root() })
        const said = {
          ...JSON.parse(each.body.toString()),
          last: last.toString('hex'),
          range,
          note,
        }
        return Buffer.from(JSON.stringify(said))
      },
      (hash) => {
        since.add(hash)
        last = hash
      },
    )
    return `after entry ${victim.id}`
  },
  'leave the checkpoints out': (db, made) => {
    db.exec("DELETE FROM entries WHERE chain = 2 AND kind = 'checkpoint'")
    const kept = made.sidecar.filter(({ kind }) => kind !== 'checkpoint')
    const renumber = db.prepare('UPDATE entries SET seq = ? WHERE id = ?')
    kept.forEach(({ id }, index) => renumber.run(index + 1, id))
    rehash(db, { ...made, sidecar: kept }, (each) => each.body)
    return 'all'
  },
}

function cutLater(db: Database.Database, { lastCheckpoint }: Made, random: Random): string {
  const from = lastCheckpoint.seq + below(random, 3)
  db.prepare('DELETE FROM entries WHERE chain = 2 AND seq > ?').run(from)
  return `after ${from}`
}

/** Gives the sidecar's entries new bodies, and hashes that fit. */
function rehash(
  db: Database.Database,
  { writerId, sidecar }: Made,
  bodyOf: (row: Row) => Buffer,
  onHash: (hash: Buffer) => void = () => {},
): void {
  const hasher = chainHasher(writerId, 1)
  const set = db.prepare('UPDATE entries SET hash = ?, body = ? WHERE id = ?')
  let prevHash: Uint8Array = NO_HASH
  sidecar.forEach((row, index) => {
    const body = bodyOf(row)
    const hash = hasher({ seq: index + 1, occurredAtUs: row.occurred_at, prevHash }, body)
    set.run(hash, body, row.id)
    onHash(hash)
    prevHash = hash
  })
}

function pick<Item>(items: readonly Item[], random: Random): Item {
  return random.pick(items)
}

/** A whole number from 0 up to but not including `end`. */
function below(random: Random, end: number): number {
  return Math.floor(random.between(0, end))
}
