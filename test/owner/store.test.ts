import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { migrate } from '../../src/audit/migrate.ts'
import { openPool } from '../../src/audit/postgres.ts'
import { EmbeddedOwners } from '../../src/owner/embedded.ts'
import { PostgresOwners } from '../../src/owner/postgres.ts'
import {
  AWAY,
  FULL,
  NOBODY,
  type Owned,
  type OwnerBounds,
  type OwnerStore,
} from '../../src/owner/store.ts'
import { freshDatabase, runSql } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'

/** Goal: both stores keep the same promises. Method: one list of them, run on real files and PostgreSQL. */

const DAY_MS = 86_400_000
const NOW_MS = Date.now()

type Tap = Parameters<typeof freshDatabase>[0] & { testdir(): string }

class Counts {
  hit = 0
  miss = 0
  expired = 0
  readonly bounds: OwnerBounds

  constructor(recordsMax = 1000) {
    const count: OwnerBounds['count'] = (what, by) => {
      this[what] += by
    }
    this.bounds = { recordsMax, expiresMs: DAY_MS, timeoutMs: 10_000, count }
  }
}

interface Kind {
  /** Opens the store once more, as another process does. */
  open(counts: Counts): Promise<OwnerStore>
  /** Makes a record older than it is. */
  age(id: string): Promise<void>
}

const KINDS: Readonly<Record<string, (t: Tap) => Promise<Kind>>> = {
  embedded: async (t) => {
    const path = join(t.testdir(), 'below', 'owned.db')
    return {
      open: (counts) => EmbeddedOwners.open(path, counts.bounds),
      age: async (id) => {
        const db = new Database(path)
        db.prepare('UPDATE owned SET created_at_ms = created_at_ms - ? WHERE id = ?').run(
          2 * DAY_MS,
          id,
        )
        db.close()
      },
    }
  },
  postgres: async (t) => {
    const url = await freshDatabase(t)
    await migrate(url, Date.UTC(2026, 10, 1))
    return {
      open: (counts) => PostgresOwners.open(openPool(url, 10_000), counts.bounds),
      age: async (id) => {
        await runSql(
          url,
          `UPDATE governor.owned SET created_at = created_at - interval '2 days' WHERE id = '${id}'`,
        )
      },
    }
  },
}

function owned(id: string, tenant = 'acme', more: Partial<Owned> = {}): Owned {
  return { id, tenant, origin: `origin of ${id}`, models: ['gpt-4o'], isAwaited: false, ...more }
}

function claim(by: OwnerStore, tenant: string, ids: readonly string[]) {
  const claims = ids.map((id) => owned(id, tenant, { isAwaited: true }))
  return by.claim(claims, NOW_MS)
}

for (const [name, make] of Object.entries(KINDS)) {
  t.test(`${name}: what is claimed is kept as it was given, once, for one tenant`, async (t) => {
    const kind = await make(t)
    const counts = new Counts()
    const [store, other] = [await kind.open(counts), await kind.open(new Counts())]
    t.teardown(() => Promise.all([store.close(), other.close()]))
    const first = owned('resp_1', 'ac"me\'; --', { models: ['a', 'ü'], isAwaited: true })
    t.strictSame(await store.claim([first, owned('file-1')], NOW_MS), [])
    t.strictSame([...(await other.find(['resp_1'])).values()], [first])
    t.strictSame(await other.claim([owned('resp_1', 'globex'), owned('x')], NOW_MS), ['resp_1'])
    t.strictSame(await other.claim([{ ...first, origin: 'later' }], NOW_MS), [])
    t.strictSame((await store.find(['resp_1'])).get('resp_1'), first, 'it stays what it was')
    t.strictSame((await store.find(['x'])).get('x'), owned('x'), 'the rest of the batch is kept')
    const strange = ["' OR '1'='1", 'RESP_1', 'resp_', 'resp_1 ', 'resp_1\0', '%', 'ä'.repeat(900)]
    t.equal((await store.find(strange)).size, 0)
    t.strictSame([counts.hit, counts.miss], [2, strange.length])
  })

  t.test(`${name}: what is contested is nobody's, until it expires`, async (t) => {
    const kind = await make(t)
    const store = await kind.open(new Counts())
    t.teardown(() => store.close())
    await store.claim([owned('chatcmpl-1'), owned('chatcmpl-2')], NOW_MS)
    await store.contest(['chatcmpl-1', 'unknown'])
    const found = await store.find(['chatcmpl-1', 'chatcmpl-2', 'unknown'])
    t.strictSame([...found.values()].map(({ tenant }) => tenant).sort(), [NOBODY, 'acme'])
    for (const tenant of ['acme', 'globex']) {
      t.strictSame(await store.claim([owned('chatcmpl-1', tenant)], NOW_MS), ['chatcmpl-1'], tenant)
    }
    await kind.age('chatcmpl-1')
    await store.sweep()
    t.strictSame(await store.claim([owned('chatcmpl-1', 'globex')], NOW_MS), [])
  })

  t.test(`${name}: of two that claim at once one wins, and it is charged once`, async (t) => {
    const kind = await make(t)
    const [store, other] = [await kind.open(new Counts()), await kind.open(new Counts())]
    t.teardown(() => Promise.all([store.close(), other.close()]))
    const ids = Array.from({ length: 50 }, (_, index) => `resp_${index}`)
    const lost = await Promise.all([
      claim(store, 'acme', ids),
      claim(other, 'globex', ids.toReversed()),
    ])
    const found = await store.find(ids)
    for (const id of ids) {
      const isAcmes = found.get(id)?.tenant === 'acme'
      t.strictSame([lost[0].includes(id), lost[1].includes(id)], [!isAcmes, isAcmes], id)
    }
    const firsts = await Promise.all([store, other, store].map((each) => each.settle('resp_0')))
    t.equal(firsts.filter((isFirst) => isFirst).length, 1)
    t.equal((await store.find(['resp_0'])).get('resp_0')?.isAwaited, false)
    t.equal(await store.settle('nobodys'), false)
  })

  t.test(
    `${name}: only its tenant forgets a thing, and what has expired is nobody's`,
    async (t) => {
      const kind = await make(t)
      const counts = new Counts()
      const store = await kind.open(counts)
      t.teardown(() => store.close())
      await store.claim([owned('a'), owned('b'), owned('c')], NOW_MS)
      await store.forget('a', 'globex')
      t.ok((await store.find(['a'])).has('a'))
      await store.forget('a', 'acme')
      await kind.age('b')
      t.strictSame([...(await store.find(['a', 'b', 'c'])).keys()], ['c'])
      t.equal(counts.expired, 0)
      await store.sweep()
      t.equal(counts.expired, 1)
      t.strictSame(await store.claim([owned('b', 'globex')], NOW_MS), [], 'it can be made anew')
    },
  )

  t.test(`${name}: a full store says so until there is room`, async (t) => {
    const kind = await make(t)
    const store = await kind.open(new Counts(2))
    t.teardown(() => store.close())
    t.equal(store.fault('acme'), null)
    await store.claim([owned('a'), owned('b', 'globex')], NOW_MS)
    t.strictSame([store.fault('acme'), store.fault('globex'), store.records], [FULL, FULL, 2])
    await kind.age('a')
    await store.sweep()
    t.strictSame([store.fault('acme'), store.records], [null, 1])
    await store.forget('b', 'globex')
    await store.sweep()
    t.strictSame([store.fault('globex'), store.records], [null, 0])
  })
}

async function behindProxy(t: Tap, timeoutMs: number) {
  const url = await freshDatabase(t)
  await migrate(url, Date.UTC(2026, 10, 1))
  const { proxy, url: through } = await TcpProxy.to(t, url)
  const bounds = { ...new Counts().bounds, timeoutMs }
  const store: OwnerStore = await PostgresOwners.open(openPool(through, timeoutMs, 20_000), bounds)
  t.teardown(() => store.close())
  return { proxy, store, url }
}

t.test('postgres: of a slow server all who ask at once have an answer', async (t) => {
  const { proxy, store } = await behindProxy(t, 20_000)
  proxy.delayMs = 150
  const ids = Array.from({ length: 400 }, (_, index) => `resp_${index}`)
  await Promise.all(ids.map((id) => store.claim([owned(id)], NOW_MS)))
  const found = await Promise.all(ids.map((id) => store.find([id, 'nobodys'])))
  t.strictSame(
    found.map((each) => [...each.keys()]),
    ids.map((id) => [id]),
  )
  const twice = ['acme', 'globex'].map((tenant) => store.claim([owned('x', tenant)], NOW_MS))
  t.strictSame(await Promise.all(twice), [[], ['x']], 'in the order they came')
})

t.test('postgres: one that is too slow is away, and back once it is not', async (t) => {
  const { proxy, store } = await behindProxy(t, 300)
  proxy.delayMs = 60_000
  await Promise.all(
    Array.from({ length: 20 }, () => t.rejects(store.find(['resp_1']), /no answer|timeout/)),
  )
  t.equal(store.fault('acme'), AWAY)
  proxy.delayMs = 0
  proxy.cutAll()
  await until('it to be back', async () => {
    await store.sweep()
    return store.fault('acme') === null
  })
  t.equal((await store.find(['resp_1'])).size, 0)
})

t.test(
  'postgres: one that is gone, or comes back empty, is away; once it is whole it is back',
  async (t) => {
    const { proxy, store, url } = await behindProxy(t, 20_000)
    await store.claim([owned('resp_1')], NOW_MS)
    const back = () => {
      return until('it to be back', async () => {
        await store.sweep()
        return store.fault('acme') === null
      })
    }
    proxy.closed = true
    proxy.cutAll()
    await t.rejects(store.find(['resp_1']))
    await t.rejects(store.claim([owned('resp_2')], NOW_MS))
    t.equal(store.fault('acme'), AWAY)
    proxy.closed = false
    await back()
    await runSql(url, 'ALTER TABLE governor.owned RENAME TO gone')
    await t.rejects(store.find(['resp_1']), /does not exist/, 'that is no answer')
    t.equal(store.fault('acme'), AWAY)
    await runSql(url, 'ALTER TABLE governor.gone RENAME TO owned')
    await back()
    t.strictSame([...(await store.find(['resp_1', 'resp_2'])).keys()], ['resp_1'])
  },
)

t.test('postgres: what one tenant sends keeps no other from its own', async (t) => {
  const { store } = await behindProxy(t, 20_000)
  const [first, bad, good] = ['first', 'b\0d', 'good'].map((id) => store.claim([owned(id)], NOW_MS))
  await t.rejects(bad!, /invalid byte sequence/)
  t.strictSame(await Promise.all([first, good]), [[], []])
  t.equal(store.fault('acme'), null)
})

t.test('embedded: a file that is none, or of a newer Governor, is named', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'owned.db')
  const { bounds } = new Counts()
  writeFileSync(path, 'this is no database, and long enough not to be taken for an empty one')
  await t.rejects(EmbeddedOwners.open(path, bounds), { message: /owned\.db \(ownership\.path\)/ })
  const newer = join(directory, 'newer.db')
  const db = new Database(newer)
  db.pragma('user_version = 99')
  db.close()
  chmodSync(newer, 0o600)
  await t.rejects(EmbeddedOwners.open(newer, bounds), { message: /newer Governor/ })
})
