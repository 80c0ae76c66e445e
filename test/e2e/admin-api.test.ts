import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t, { type Test } from 'tap'

import { migrate } from '../../src/audit/migrate.ts'
import { type Answered, chat, send } from '../support/client.ts'
import { ownDirectory } from '../support/own-directory.ts'
import { freshDatabase, runSql } from '../support/postgres.ts'
import {
  configText,
  type InProcess,
  type Sections,
  Site,
  startChild,
  startGovernor,
  writeConfig,
} from '../support/start-governor.ts'

const LIMITS =
  '[{ id: key-rpm, per: key, requests: 5/60s }, { id: slots, per: tenant, concurrent: 3 }]'

/** A Governor, and keys of two tenants with admin roles. */
async function desk(t: Test, sections: Sections = {}) {
  const site = await startGovernor(t, { limits: LIMITS, ...sections })
  const ask = (key: string, method: string, path: string, body?: object): Promise<Answered> => {
    const own = body === undefined ? {} : { body }
    return send(site.adminUrl, { key, method, path: `/admin/v1${path}`, ...own })
  }
  return {
    site,
    ask,
    admin: await site.createKey('root', ['admin']),
    fleet: await site.createKey('chief', ['admin', 'fleet']),
  }
}

/** Entries `admin` of the admin API, once there are `count`. */
async function acts(site: InProcess): Promise<object[]> {
  await site.governor.stop(0)
  return site
    .entries()
    .filter(({ kind, body }) => kind === 'admin' && body['by'] !== undefined)
    .map(({ body: { time: _time, request_id: _id, kind: _kind, ...rest } }) => rest)
}

t.test(
  'admin API: a key is made, shown, rotated and revoked; each act is in the audit',
  async (t) => {
    const { site, ask, admin } = await desk(t)
    const made = await ask(admin, 'POST', '/keys', {
      name: 'ci',
      roles: ['developer'],
      expires_in: '90d',
    })
    t.equal(made.status, 201, made.text)
    const { key, record } = made.json as unknown as { key: string; record: Record<string, unknown> }
    t.match(record, { tenant: 'acme', name: 'ci', roles: ['developer'], state: 'active' })
    const keyId = record['key_id'] as string
    const call = { path: '/v1/chat/completions', body: chat('hello') }
    t.equal((await site.send({ ...call, key })).status, 200)

    const got = await ask(admin, 'GET', `/keys/${keyId}`)
    t.equal(got.status, 200)
    t.notMatch(got.text, key.split('.')[1]!)
    const rotated = await ask(admin, 'POST', `/keys/${keyId}/rotate`, { overlap: '1h' })
    t.equal(rotated.status, 200, rotated.text)
    const next = (rotated.json as { key?: string }).key!
    t.not(next, key)
    t.equal((await site.send({ ...call, key: next })).status, 200)
    t.equal((await site.send({ ...call, key })).status, 200, 'the former secret opens, too')

    t.equal((await ask(admin, 'POST', `/keys/${keyId}/revoke`)).status, 200)
    const again = await ask(admin, 'POST', `/keys/${keyId}/rotate`)
    t.strictSame([again.status, again.json.error?.code], [409, 'ADMIN_CONFLICT'])
    const told = await acts(site)
    t.strictSame(
      told.map((act) => {
        const { action, code, about } = act as Record<string, unknown>
        return [action, code, (about as Record<string, unknown>)['key_id']]
      }),
      [
        ['keys.create', undefined, keyId],
        ['keys.get', undefined, keyId],
        ['keys.rotate', undefined, keyId],
        ['keys.revoke', undefined, keyId],
        ['keys.rotate', 'ADMIN_CONFLICT', keyId],
      ],
    )
    t.match(told[0], { by: { tenant: 'acme', key_name: 'root', roles: ['admin'] } })
    const log = JSON.stringify(site.entries())
    t.notMatch(log, key.split('.')[1]!)
    t.notMatch(log + site.logLines.join(), next.split('.')[1]!)
  },
)

t.test('admin API: a key of one tenant finds nothing of another', async (t) => {
  const { site, ask, admin, fleet } = await desk(t)
  const other = await site.createKey('theirs', ['admin'], 'globex')
  const [otherId = ''] = other.split('.')
  const answered = await site.send({ key: other, body: chat('hello') })
  const requestId = String(answered.headers['x-governor-request-id'])
  await site.entriesOf(requestId, 2)

  for (const [method, path] of [
    ['GET', `/keys/${otherId}`],
    ['POST', `/keys/${otherId}/rotate`],
    ['POST', `/keys/${otherId}/revoke`],
    ['GET', `/limits?key=${otherId}`],
    ['GET', `/explain/${requestId}`],
  ] as const) {
    const refused = await ask(admin, method, path)
    t.strictSame([refused.status, refused.json.error?.code], [404, 'ADMIN_UNKNOWN'], path)
  }
  for (const path of ['/keys', '/limits', '/policies', '/audit']) {
    const refused = await ask(admin, 'GET', `${path}?tenant=globex`)
    t.strictSame([refused.status, refused.json.error?.code], [403, 'ADMIN_FORBIDDEN'], path)
  }
  const created = await ask(admin, 'POST', '/keys', { tenant: 'globex', name: 'mine' })
  t.equal(created.status, 403)
  t.notMatch((await ask(admin, 'GET', '/keys')).text, /globex/)
  t.notMatch((await ask(admin, 'GET', '/audit')).text, /globex/)

  t.match((await ask(fleet, 'GET', '/keys')).text, /globex[^]*theirs|theirs[^]*globex/)
  t.match((await ask(fleet, 'GET', '/audit?tenant=globex')).text, requestId)
  t.equal((await ask(fleet, 'GET', `/explain/${requestId}`)).status, 200)
  t.equal((await ask(fleet, 'POST', `/keys/${otherId}/revoke`)).status, 200)
})

t.test('admin API: nobody hands out more than they may do', async (t) => {
  const { site, ask, admin } = await desk(t)
  const operator = await site.createKey('op', ['operator'])
  const [adminId = ''] = admin.split('.')
  for (const [path, body] of [
    ['/keys', { name: 'up', roles: ['admin'] }],
    ['/keys', { name: 'wide', roles: ['operator', 'fleet'] }],
    ['/keys', { name: 'reads', roles: ['auditor'] }],
    [`/keys/${adminId}/rotate`, {}],
    [`/keys/${adminId}/revoke`, undefined],
  ] as const) {
    const refused = await ask(operator, 'POST', path, body)
    t.strictSame([refused.status, refused.json.error?.code], [403, 'ADMIN_FORBIDDEN'], path)
  }
  t.equal((await ask(admin, 'POST', '/keys', { name: 'wide', roles: ['fleet'] })).status, 403)
  t.equal((await ask(operator, 'POST', '/keys', { name: 'peer', roles: ['operator'] })).status, 201)
  t.equal((await ask(operator, 'GET', '/audit')).status, 403)
  t.equal((await ask(site.key, 'GET', '/keys')).status, 403, 'a key without an admin role')
  t.equal((await ask(admin, 'POST', '/reload')).status, 403, 'a reload is about all tenants')
})

t.test('admin API: limits are shown as they stand, and asking charges nothing', async (t) => {
  const { site, ask, admin } = await desk(t)
  const [keyId = ''] = site.key.split('.')
  await site.send({ body: chat('hello') })
  const standing = async () => {
    const { json } = await ask(admin, 'GET', `/limits?key=${keyId}`)
    const { state } = json as unknown as { state: { limits: Record<string, unknown>[] } }
    return state.limits.map(({ id, limit, remaining }) => [id, limit, remaining])
  }
  t.strictSame(await standing(), [
    ['key-rpm', 5, 4],
    ['slots', 3, 3],
  ])
  t.strictSame(await standing(), await standing())
  await site.send({ body: chat('hello') })
  t.strictSame((await standing())[0], ['key-rpm', 5, 3])
  const { json } = await ask(admin, 'GET', '/limits')
  const { store, limits, state } = json as unknown as {
    store: string
    limits: { id: string }[]
    state: { limits: { id: string }[] }
  }
  t.strictSame([store, limits.map(({ id }) => id)], ['memory', ['key-rpm', 'slots']])
  t.strictSame(
    state.limits.map(({ id }) => id),
    ['slots'],
    'of a tenant, what counts tenants',
  )
})

const POLICIES = `
  - { id: all, allow: { models: ['*'] } }
  - { id: ours, deny: { tenants: [acme], models: ['gpt-5*'] }, message: Not yet }
  - { id: theirs, deny: { tenants: [globex], models: ['gpt-5*'] } }
exceptions:
  - { id: EXC-1, policy: ours, for: { users: [eve] }, reason: r1, approved_by: dpo, expires: 2999-01-31 }
  - { id: EXC-2, policy: theirs, for: { tenants: [globex] }, reason: r2, approved_by: dpo, expires: 2999-01-31 }`

t.test('admin API: policies in force, as far as they are about the tenant', async (t) => {
  const { ask, admin, fleet, site } = await desk(t, { policies: POLICIES })
  const { json } = await ask(admin, 'GET', '/policies')
  const { policies, exceptions, digest } = json as unknown as Record<string, { id: string }[]>
  t.strictSame(
    policies!.map(({ id }) => id),
    ['all', 'ours'],
  )
  t.strictSame(exceptions, [
    {
      id: 'EXC-1',
      policy: 'ours',
      reason: 'r1',
      approved_by: 'dpo',
      expires: '2999-02-01T00:00:00.000Z',
      ended: false,
    },
  ])
  t.strictSame(digest, site.governor.snapshot.digest)
  t.match((await ask(fleet, 'GET', '/policies')).text, /"theirs"[^]*EXC-2/)
})

t.test('admin API: the audit is read page by page, and a call is explained', async (t) => {
  const { site, ask, admin } = await desk(t, { limits: '[]' })
  const ids: string[] = []
  for (const model of ['gpt-4o', 'gpt-5', 'gpt-4o', 'gpt-5', 'gpt-4o']) {
    const { headers } = await site.send({ body: chat('hello', { model }) })
    ids.push(String(headers['x-governor-request-id']))
  }
  await site.entriesOf(ids[4]!, 2)
  const seen: unknown[] = []
  let path = '/audit?limit=2'
  for (;;) {
    const { json, status, text } = await ask(admin, 'GET', path)
    t.equal(status, 200, text)
    const { entries, next } = json as unknown as {
      entries: { entry: Record<string, unknown> }[]
      next: string | null
    }
    seen.push(...entries.map(({ entry }) => entry['request_id']))
    if (next === null) break
    path = `/audit?limit=2&after=${next}`
  }
  t.strictSame(seen, ids.toReversed())
  const denied = await ask(admin, 'GET', '/audit?decision=deny&since=1h')
  t.equal((denied.json as unknown as { entries: unknown[] }).entries.length, 2)

  const { json, status } = await ask(admin, 'GET', `/explain/${ids[1]}`)
  t.equal(status, 200)
  t.match(json, { request_id: ids[1], explained: { effect: 'deny', same: true, served: true } })
  const unknown = await ask(admin, 'GET', '/explain/00000000-0000-4000-8000-000000000000')
  t.equal(unknown.status, 404)
})

t.test(
  'admin API: PostgreSQL is asked about all sidecars, and of the own tenant alone',
  async (t) => {
    const url = await freshDatabase(t)
    await migrate(url, Date.now())
    await runSql(
      url,
      `INSERT INTO governor.entries (writer_id, epoch, seq, occurred_at, kind, request_id, awaits, hash,
       body, tenant, model, decision)
     SELECT decode(repeat('0' || n % 3, 16), 'hex'), 1, n / 3, date_trunc('hour', now()) - n / 6 * interval '1 s',
       'decision', 'r' || n, true, '\\x00', convert_to('{"request_id":"r' || n || '"}', 'UTF8'),
       CASE WHEN n % 2 = 0 THEN 'acme' ELSE 'globex' END, 'gpt-' || n % 5, 'allow'
     FROM generate_series(0, 59) AS n`,
    )
    const file = join(ownDirectory(t), 'url')
    writeFileSync(file, url)
    const { ask, admin, fleet } = await desk(t, {
      audit: `{ path: audit.db, ship: { postgres_file: '${file}' } }`,
    })
    const idsOf = async (key: string, query: string) => {
      const ids: unknown[] = []
      let path = `/audit?source=postgres${query}`
      for (;;) {
        const { json, status, text } = await ask(key, 'GET', path)
        t.equal(status, 200, text)
        const { entries, next } = json as unknown as {
          entries: { entry: Record<string, unknown> }[]
          next: string | null
        }
        ids.push(...entries.map(({ entry }) => entry['request_id']))
        if (next === null) return ids
        path = `/audit?source=postgres${query}&after=${next}`
      }
    }
    const numbers = Array.from({ length: 60 }, (_, n) => n)
    const [all, even] = [numbers, numbers.filter((n) => n % 2 === 0)].map((each) =>
      each.map((n) => `r${n}`),
    )
    for (const limit of ['', '&limit=7']) {
      t.strictSame(new Set(await idsOf(fleet, limit)), new Set(all))
      t.equal((await idsOf(fleet, limit)).length, 60, 'each once')
      t.strictSame(new Set(await idsOf(admin, limit)), new Set(even), 'of its own tenant')
    }
    t.strictSame(await idsOf(admin, '&model=gpt-0&limit=1'), [
      'r0',
      'r10',
      'r20',
      'r30',
      'r40',
      'r50',
    ])
    t.equal((await ask(admin, 'GET', '/audit?source=postgres&tenant=globex')).status, 403)
    t.strictSame((await ask(admin, 'GET', '/audit')).json['entries'], [], 'the own log is another')
    const mixed = await ask(admin, 'GET', `/audit?after=1.1.1.${'0'.repeat(32)}`)
    t.equal(mixed.headers['x-governor-code'], 'FIELD_INVALID')
    await runSql(url, 'ALTER SCHEMA governor RENAME TO gone')
    const away = await ask(admin, 'GET', '/audit?source=postgres')
    t.strictSame([away.status, away.headers['x-governor-code']], [503, 'AUDIT_UNREADABLE'])
    t.notMatch(away.text, /postgres:\/\/|relation/, 'nothing of the database')
    t.equal((await ask(admin, 'GET', '/audit')).status, 200, 'the log is still there')
  },
)

t.test('admin API: what is asked in a wrong way is refused by one shape of error', async (t) => {
  const { site, ask, admin } = await desk(t)
  const raw = (more: object) => {
    return send(site.adminUrl, { key: admin, method: 'POST', path: '/admin/v1/keys', ...more })
  }
  const cases: [() => Promise<Answered>, number, string][] = [
    [() => ask(admin, 'GET', '/nothing'), 404, 'ADMIN_UNKNOWN'],
    [() => ask(admin, 'GET', '/keys/'), 404, 'ADMIN_UNKNOWN'],
    [() => ask(admin, 'GET', '//keys'), 404, 'ADMIN_UNKNOWN'],
    [() => ask(admin, 'DELETE', '/keys'), 405, 'METHOD_NOT_ALLOWED'],
    [() => ask(admin, 'OPTIONS', '/keys'), 405, 'METHOD_NOT_ALLOWED'],
    [() => ask(admin, 'GET', '/keys/not-a-key'), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'GET', '/keys?limit=0'), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'GET', '/audit?source=mars'), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'GET', '/audit?source=postgres'), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'GET', '/keys?limit=501'), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'GET', '/keys?limit=1&limit=2'), 400, 'QUERY_UNKNOWN'],
    [() => ask(admin, 'GET', '/keys?__proto__=1'), 400, 'QUERY_UNKNOWN'],
    [() => ask(admin, 'GET', '/audit?key=%ff'), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'GET', '/audit?key=%zz'), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'POST', '/keys', { name: 'a b' }), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'POST', '/keys', { name: 'a', secret: 'b' }), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'POST', '/keys', {}), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'POST', '/keys', { name: 'a', expires_in: '0d' }), 400, 'FIELD_INVALID'],
    [() => ask(admin, 'POST', '/keys', { name: 'a', labels: { __x: 'b' } }), 400, 'FIELD_INVALID'],
    [() => raw({ body: '{"name":"a","name":"b"}' }), 400, 'BODY_INVALID'],
    [() => raw({ body: '[]' }), 400, 'BODY_INVALID'],
    [
      () => raw({ body: '{"name":"a"}', headers: { 'content-type': 'text/plain' } }),
      415,
      'CONTENT_TYPE_UNSUPPORTED',
    ],
    [
      () => raw({ body: '{}', headers: { 'content-encoding': 'gzip' } }),
      415,
      'CONTENT_TYPE_UNSUPPORTED',
    ],
    [() => raw({ body: `{"name":"${'a'.repeat(70_000)}"}` }), 413, 'BODY_TOO_LARGE'],
    [() => raw({ key: undefined }), 401, 'AUTH_KEY_MISSING'],
    [() => raw({ key: `${admin}x` }), 401, 'AUTH_KEY_INVALID'],
    [() => raw({ key: undefined, headers: { 'x-api-key': admin } }), 401, 'AUTH_KEY_MISSING'],
    [() => raw({ headers: { authorization: [`Bearer ${admin}`, 'x'] } }), 400, 'HEADER_INVALID'],
    [() => raw({ headers: { host: 'rebound.example:4142' } }), 421, 'HOST_UNKNOWN'],
  ]
  for (const [asked, status, code] of cases) {
    const { status: got, json, headers } = await asked()
    t.strictSame([got, json.error?.code], [status, code])
    t.equal(headers['x-governor-code'], code)
    t.match(json, { error: { request_id: headers['x-governor-request-id'] ?? 'the same' } })
    t.equal(headers['access-control-allow-origin'], undefined)
    t.equal(headers['cache-control'], 'no-store')
    t.equal(headers['x-content-type-options'], 'nosniff')
    t.match(headers['content-security-policy'], /frame-ancestors 'none'/)
  }
})

t.test('admin API: one key asks at most so often, and refusals are told together', async (t) => {
  const { site, ask, admin } = await desk(t)
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask(admin, 'GET', '/policies')))
  t.ok(answers.every(({ status }) => status === 200))
  let refused: Answered | undefined
  for (let rounds = 0; rounds < 50 && refused === undefined; rounds++) {
    const round = await Promise.all(Array.from({ length: 6 }, () => ask(admin, 'GET', '/nothing')))
    refused = round.find(({ status }) => status === 429)
  }
  t.equal(refused?.json.error?.code, 'LIMIT_EXCEEDED')
  t.ok(Number(refused?.headers['retry-after']) > 0)
  const told = await acts(site)
  t.ok(told.length < 12, `${told.length} entries`)
  t.ok(told.some((act) => Number((act as Record<string, unknown>)['repeated']) > 10))
})

t.test('admin API: the health listener has none of it', async (t) => {
  const { site, admin } = await desk(t, {
    listen: "{ proxy: '127.0.0.1:0', admin: '127.0.0.1:0', health: '127.0.0.1:0' }",
  })
  const { port } = site.governor.health!
  const answer = await send(`http://127.0.0.1:${port}`, {
    key: admin,
    method: 'GET',
    path: '/admin/v1/keys',
  })
  t.equal(answer.status, 404)
})

t.test('admin API: a change that cannot be recorded is not made', async (t) => {
  const { site, ask, admin } = await desk(t)
  const before = await ask(admin, 'GET', '/keys')
  await site.governor.recorder.close()
  const made = await ask(admin, 'POST', '/keys', { name: 'unseen' })
  t.strictSame([made.status, made.json.error?.code], [503, 'AUDIT_UNAVAILABLE'])
  t.strictSame((await ask(admin, 'GET', '/keys')).json, before.json)
})

t.test('admin API: reload takes the file now, or says what is wrong and where', async (t) => {
  const text = configText()
  const site = new Site(t.testdir(), text)
  const key = await site.createKey('chief', ['policy-admin', 'fleet'])
  const child = await startChild(t, site)
  const reload = () => send(child.adminUrl, { key, path: '/admin/v1/reload' })
  const before = await reload()
  t.match(before, { status: 200, json: { changed: false, notes: [], deferred: [] } })

  writeConfig(site.file, text.replace('limits: []', 'limits: 7'))
  const refused = await reload()
  t.strictSame([refused.status, refused.json.error?.code], [422, 'CONFIG_INVALID'])
  const [problem] = refused.json['problems'] as Record<string, unknown>[]
  t.match(problem, { line: /^\d+$/, path: 'limits' })
  t.equal(problem!['line'], text.split('\n').findIndex((line) => line === 'limits: []') + 1)

  writeConfig(site.file, `${text}sidecars: 3\n`)
  const taken = await reload()
  t.match(taken, { status: 200, json: { deferred: ['sidecars'] } }, taken.text)
  await child.kill('SIGTERM')
  const told = site.entries().filter(({ body }) => body['action'] === 'config.reload')
  t.strictSame(
    told.map(({ body }) => body.code),
    [undefined, undefined, 'CONFIG_INVALID', undefined],
  )
})
