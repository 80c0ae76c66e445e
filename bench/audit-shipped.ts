import Database from 'better-sqlite3'
import { Client } from 'pg'

import { migrate } from '../src/audit/migrate.ts'
import { Shipper } from '../src/audit/shipper.ts'
import { PostgresSink } from '../src/audit/sink-postgres.ts'
import { wallMs } from '../src/clock.ts'
import { freePort } from '../test/support/free-port.ts'
import { PostgresServer } from '../test/support/postgres-server.ts'

/** Shipping beside bare inserts of the same rows in batches of the same size, into the same server. */

const BATCH = 500
const BARE = `
  INSERT INTO bare (id, request_id, body)
  SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])`

interface Row {
  readonly id: number
  readonly request_id: string
  readonly body: Buffer
}

/** Seconds of each round, in turns. */
export interface ShippedTimes {
  readonly ours: number[]
  readonly bare: number[]
}

/** Ships the log at `path` once a round, and inserts its rows once a round. Rejects with the server's error. */
export async function timeShipping(path: string, rounds: number): Promise<ShippedTimes> {
  const server = new PostgresServer(await freePort())
  try {
    await server.initialise()
    await server.start()
    const times: ShippedTimes = { ours: [], bare: [] }
    for (let round = 0; round < rounds; round++) {
      times.ours.push(await shipOnce(server.url, path))
      times.bare.push(await insertOnce(server.url, path))
    }
    return times
  } finally {
    await server.remove()
  }
}

async function shipOnce(url: string, path: string): Promise<number> {
  await run(url, 'DROP SCHEMA IF EXISTS governor CASCADE')
  await migrate(url, wallMs())
  const sink = new PostgresSink(url)
  const shipper = new Shipper({
    path,
    sink,
    onFork: ({ what }) => {
      throw new Error(what)
    },
    onDead: () => {},
    onHead: () => {},
  })
  const startedMs = performance.now()
  while (await shipper.step());
  const took = (performance.now() - startedMs) / 1000
  shipper.close()
  await sink.close()
  return took
}

async function insertOnce(url: string, path: string): Promise<number> {
  await run(url, 'DROP TABLE IF EXISTS bare')
  await run(url, 'CREATE TABLE bare (id bigint PRIMARY KEY, request_id text, body bytea)')
  const file = new Database(path, { readonly: true })
  const read = file.prepare<[number, number], Row>(
    'SELECT id, request_id, body FROM entries WHERE id > ? ORDER BY id LIMIT ?',
  )
  const client = new Client({ connectionString: url })
  await client.connect()
  const startedMs = performance.now()
  for (let id = 0; ;) {
    const rows = read.all(id, BATCH)
    if (rows.length === 0) break
    id = rows.at(-1)!.id
    const columns = [rows.map((row) => row.id), rows.map((row) => row.request_id)]
    await client.query(BARE, [...columns, rows.map((row) => row.body)])
  }
  const took = (performance.now() - startedMs) / 1000
  await client.end()
  file.close()
  return took
}

async function run(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query(text)
  await client.end()
}
