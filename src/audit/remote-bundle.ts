import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

import type { PoolClient } from 'pg'

import { bodyMember, bodyOfLine, miscounted } from './bundle-line.ts'
import { everyEntry, type RemoteRow } from './postgres-rows.ts'
import { retentionsIn } from './retention.ts'
import type { RemoteSource } from './verify-remote.ts'
import { headKey } from './verify-remote.ts'
import type { Head } from './writer-body.ts'

/**
 * What PostgreSQL holds as lines of JSON: a head, where each chain ends, every entry chain by chain, and a
 * last line that counts them. The same entries always make the same bytes.
 */

const FORMAT = 'governor-audit-postgres/1'
const HEADS = `
  SELECT encode(writer_id, 'hex') AS writer_id, epoch, last_seq AS seq, encode(last_hash, 'hex') AS hash
  FROM governor.writers ORDER BY governor.writers.writer_id, epoch`

/** Writes everything; `client` is in a transaction of one moment. Rejects with the server's error. */
export async function writeRemoteBundle(
  client: PoolClient,
  write: (text: string) => void,
  onRows: (rows: number) => void,
): Promise<void> {
  const say = (line: object) => write(`${JSON.stringify(line)}\n`)
  say({ bundle: FORMAT })
  const { rows } = await client.query<Omit<Head, 'seq'> & { readonly seq: string }>(HEADS)
  for (const { writer_id, epoch, seq, hash } of rows) {
    say({ head: writer_id, epoch, seq: Number(seq), hash })
  }
  let entries = 0
  for await (const row of everyEntry(client)) {
    const { writerId, epoch, seq, occurred_at, kind, request_id, awaits, hash, body } = row
    const place = { writer: writerId.toString('hex'), epoch, seq, occurred_at }
    const said = { kind, request_id, awaits, hash: hash.toString('hex'), ...bodyMember(body) }
    say({ ...place, ...said })
    entries++
    onRows(1)
  }
  say({ end: entries })
}

/** Whether a file is such a bundle; false also for what is none at all. Rejects when it cannot be read. */
export async function isRemoteBundle(file: string): Promise<boolean> {
  const input = createReadStream(file, { end: 255 })
  let text = ''
  try {
    for await (const chunk of input) text += String(chunk)
  } catch (error) {
    const why = (error as Error).message
    throw new Error(`Cannot read the bundle ${file}: ${why}`, { cause: error })
  }
  return text.startsWith(`{"bundle":"${FORMAT}"}\n`)
}

type Line = Readonly<Record<string, unknown>>

/** The entries of a bundle; reads the file anew for each question, and holds a line of it. */
export function bundleSource(file: string): RemoteSource {
  return {
    name: file,
    rows: () => bundleRows(file),
    retentions: async () => {
      const found = []
      for await (const { kind, body } of bundleRows(file)) {
        if (kind === 'retention') found.push(...retentionsIn(body))
      }
      return found
    },
    heads: () => bundleHeads(file),
    hashes: async (heads) => {
      const asked = new Set(heads.map(headKey))
      const found = new Map<string, string>()
      for await (const { writerId, epoch, seq, hash } of bundleRows(file)) {
        const key = headKey({ writer_id: writerId.toString('hex'), epoch, seq })
        if (asked.has(key)) found.set(key, hash.toString('hex'))
      }
      return found
    },
  }
}

async function bundleHeads(file: string): Promise<Head[]> {
  const heads: Head[] = []
  for await (const line of linesOf(file)) {
    const { head, epoch, seq, hash } = line
    if (typeof head !== 'string') continue
    heads.push({ writer_id: head, epoch: Number(epoch), seq: Number(seq), hash: String(hash) })
  }
  return heads
}

async function* bundleRows(file: string): AsyncGenerator<RemoteRow> {
  for await (const line of linesOf(file)) {
    if (typeof line['writer'] === 'string') yield rowOf(line, line['writer'])
  }
}

function rowOf(line: Line, writer: string): RemoteRow {
  const { epoch, seq, occurred_at, kind, request_id, awaits, hash } = line
  return {
    id: 0,
    chain: 0,
    writerId: Buffer.from(writer, 'hex'),
    epoch: Number(epoch),
    seq: Number(seq),
    occurred_at: Number(occurred_at),
    kind: String(kind),
    request_id: String(request_id),
    awaits: Number(awaits),
    hash: Buffer.from(String(hash), 'hex'),
    body: bodyOfLine(line),
    columns: null,
  }
}

/** Lines between the first and the last. Throws an Error that names the line of what is no whole bundle. */
async function* linesOf(file: string): AsyncGenerator<Line> {
  let at = 0
  let entries = 0
  let isEnded = false
  try {
    const lines = createInterface({ input: createReadStream(file), crlfDelay: Infinity })
    for await (const text of lines) {
      at++
      if (isEnded) throw new Error('there are lines behind its end')
      const line = JSON.parse(text) as Line
      if (at === 1) {
        if (line['bundle'] !== FORMAT) throw new Error(`it does not begin with ${FORMAT}`)
      } else if ('end' in line) {
        if (line['end'] !== entries) throw new Error(miscounted(line['end'], entries))
        isEnded = true
      } else {
        if ('writer' in line) entries++
        yield line
      }
    }
    if (!isEnded) throw new Error('it is cut short')
  } catch (error) {
    const why = (error as Error).message
    throw new Error(`Cannot read the bundle ${file}, line ${at}: ${why}`, { cause: error })
  }
}
