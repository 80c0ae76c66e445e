import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t, { type Test } from 'tap'

import { chat, open } from '../support/client.ts'
import { FakeUpstream, HandStream, chatEvent } from '../support/fake-upstream.ts'
import { startPostgres } from '../support/postgres.ts'
import { configText, InProcess } from '../support/start-governor.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'

/** Goal: sidecars that share keys in PostgreSQL act as one, and go on while it is away. */

async function prepare(t: Test, upstream: string) {
  const server = await startPostgres(t)
  const folder = t.testdir({})
  const sidecars = ['one', 'two'].map((name) => {
    const keys = '{ store: postgres, url_file: url, path: copy.db }'
    const directory = join(folder, name)
    const text = configText({ upstream, keys: keys.replace('url_file: url', 'url_file: ../url') })
    writeFileSync(join(folder, 'url'), server.url)
    return new InProcess(directory, text)
  })
  const [one, two] = sidecars as [InProcess, InProcess]
  const migrated = await one.cli('migrate')
  t.equal(migrated.code, 0, migrated.stdout)
  t.match(
    migrated.stdout,
    /^postgres:\/\/127\.0\.0\.1:\d+\/postgres went from schema 0 to 1 of keys\n$/,
  )
  return { server, one, two }
}

async function made(site: InProcess, ...args: readonly string[]): Promise<string> {
  const { stdout } = await site.cli('keys', ...args)
  return stdout.trim().split('\n').at(-1)!
}

const models = { method: 'GET', path: '/v1/models' } as const

t.test('two sidecars share keys: made, rotated, revoked by one command', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t)
  const { one, two } = await prepare(t, upstream.url)
  const key = await made(one, 'create', '--tenant=acme', '--name=ci')
  for (const site of [one, two]) {
    await site.open()
    site.key = key
    t.equal((await site.send({ body: chat('hi') })).status, 200)
  }
  const pool = ['governor_pool_connections', 'pool="postgres:keys"', 'state="open"'] as const
  await until('a connection to be told', async () => (await one.metric(...pool)) === 1)
  const keyId = key.split('.')[0]!
  const next = await made(two, 'rotate', keyId, '--overlap=1h')
  for (const site of [one, two]) {
    await until(
      'the new secret',
      async () => (await site.send({ key: next, ...models })).status === 200,
    )
    t.equal((await site.send(models)).status, 200, 'and the former')
  }

  upstream.behaviour = hand.behaviour
  const stream = await open(one.url, { key, body: chat('hi', { stream: true }) })
  hand.write(chatEvent('Hello'))
  let read = ''
  stream.response.on('data', (chunk: Buffer) => {
    read += chunk.toString()
  })
  t.equal((await two.cli('keys', 'revoke', keyId)).code, 0)
  for (const site of [one, two]) {
    await until('a 401', async () => (await site.send(models)).status === 401)
    t.equal((await site.send({ key: next, ...models })).status, 401)
  }
  if (!stream.response.complete) await once(stream.response, 'end')
  t.match(read, /"error":\{.*it was revoked/)
  await Promise.all([one.governor.stop(0), two.governor.stop(0)])
  const listed = await one.cli('keys', 'list')
  t.match(listed.stdout, new RegExp(`^${keyId}  revoked   acme  ci  -  used \\d{4}-`))
})

t.test('a sidecar starts and serves while PostgreSQL is away, and refuses nobody', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const { server, one } = await prepare(t, upstream.url)
  const key = await made(one, 'create', '--tenant=acme', '--name=ci')
  one.key = key
  await one.open()
  t.equal((await one.send({ body: chat('hi') })).status, 200)
  await one.governor.stop(0)
  await server.kill()

  await one.open()
  t.teardown(() => one.governor.stop(0))
  t.equal((await one.send({ body: chat('hi') })).status, 200)
  t.equal((await one.admin('/readyz')).status, 200)
  t.ok((await one.metric('governor_keys_age_seconds')) > 0)
  t.equal(await one.metric('governor_pool_connections', 'pool="postgres:keys"'), 0)
  const keyId = key.split('.')[0]!
  for (const unknown of [
    `${keyId}.${'x'.repeat(43)}`,
    `${crypto.randomUUID()}.${'x'.repeat(43)}`,
  ]) {
    const answer = await one.send({ key: unknown, body: chat('hi') })
    t.strictSame([answer.status, answer.headers['x-governor-code']], [503, 'AUTH_UNAVAILABLE'])
  }
  const changed = await one.cli('keys', 'revoke', keyId)
  t.equal(changed.code, 2)
  t.match(
    changed.stderr,
    /^Cannot use the key store postgres:\/\/127\.0\.0\.1:\d+\/postgres \(auth\.keys\.url\): .*ECONNREFUSED/,
  )
  await server.start()
  await until(
    'a 401',
    async () => {
      return (await one.send({ key: `${keyId}.${'y'.repeat(43)}`, ...models })).status === 401
    },
    20_000,
  )
})

t.test(
  'with a PostgreSQL that is slow calls are as quick, and changes somewhat later',
  async (t) => {
    const { server, one } = await prepare(t, 'echo:')
    const key = await made(one, 'create', '--tenant=acme', '--name=ci')
    const { proxy, url } = await TcpProxy.to(t, server.url)
    writeFileSync(join(one.directory, '..', 'url'), url)
    one.key = key
    proxy.delayMs = 400
    await one.open()
    t.teardown(() => one.governor.stop(0))
    await until('the key to be known', async () => (await one.send(models)).status === 200)
    proxy.delayMs = 2_500
    const all = await Promise.all(Array.from({ length: 50 }, () => one.send(models)))
    t.ok(all.every(({ status }) => status === 200))
    proxy.delayMs = 400
    // The command asks the slow one, too.
    const { code, stderr } = await one.cli('keys', 'revoke', key.split('.')[0]!)
    t.equal(code, 0, stderr)
    const seen = new Set<number>()
    await until('the revocation', async () => {
      const { status } = await one.send(models)
      seen.add(status)
      return status === 401
    })
    t.notOk(seen.has(503), 'who is known is not asked to wait')
  },
)

t.test('a sidecar that never saw the database says what to do', async (t) => {
  const server = await startPostgres(t)
  const folder = t.testdir({ url: server.url })
  const keys = '{ store: postgres, url_file: ../url }'
  const site = new InProcess(join(folder, 'site'), configText({ keys }))
  const ran = await site.cli('run')
  t.equal(ran.code, 2)
  t.match(ran.stderr, /no tables for keys: run governor migrate\nNothing was started\./)
  const listed = await site.cli('keys', 'list')
  t.strictSame([listed.code, /run governor migrate/.test(listed.stderr)], [2, true])
})
