import { env } from 'node:process'

import tap from 'tap'

import { freePort } from './free-port.ts'
import { PostgresServer, runSql } from './postgres-server.ts'

/**
 * A real PostgreSQL for tests: the one of TEST_DATABASE_URL, else one that is started on a free port.
 */

export { PostgresServer, runSql }

/** What a test does with it. */
interface Test {
  teardown(after: () => unknown): unknown
}

let shared: Promise<PostgresServer> | null = null

/** Makes a fresh database in the given server, or in one for all tests of a file; answers its URL. */
export async function freshDatabase(t: Test): Promise<string> {
  const given = env['TEST_DATABASE_URL'] ?? (await (shared ??= startPostgres(tap))).url
  const name = `governor_test_${process.pid}_${Math.random().toString(36).slice(2)}`
  await runSql(given, `CREATE DATABASE ${name} TEMPLATE template0`)
  t.teardown(() => runSql(given, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  const url = new URL(given)
  url.pathname = `/${name}`
  return url.href
}

/** A server of the test's own, that may be killed and restarted. */
export async function startPostgres(t: Test): Promise<PostgresServer> {
  const server = new PostgresServer(await freePort())
  t.teardown(() => server.remove())
  await server.initialise()
  await server.start()
  return server
}
