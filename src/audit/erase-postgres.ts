import type { PoolClient } from 'pg'

import { type EraseTarget, redactedIn } from './erase.ts'
import { inSnapshot } from './postgres.ts'
import { headKey } from './verify-remote.ts'

/**
 * What PostgreSQL knows of the personal values of a caller or a call: they are not there, only salted
 * commitments to them, and the entries `redaction` that say which were erased where they lie.
 */

/** A chain whose entries commit to such values. */
export interface HeldBy {
  /** Hex: the values lie, or lay, beside the log of this writer. */
  readonly writer: string
  readonly epoch: number
  /** Entries with commitments. */
  readonly entries: number
  /** Those of them that a `redaction` names. */
  readonly erased: number
}

/** A tenant may have millions of calls, whose bodies are read there. */
const STATEMENT_MS = 10 * 60_000

/** Of a tenant and a user in an entry. */
const NAME_CHARS_MAX = 128

const PERSONAL = `
  SELECT DISTINCT encode(writer_id, 'hex') AS writer_id, epoch, seq FROM governor.entries
  WHERE convert_from(body, 'UTF8')::jsonb ? 'personal' AND request_id <> ''`
const OF_REQUEST = `${PERSONAL} AND request_id = $1`
/** As `subjectOf` names callers: by the user, and by the key of who has none. */
const OF_SUBJECT = `${PERSONAL} AND request_id IN (
  SELECT request_id FROM governor.entries
  WHERE kind = 'decision' AND tenant = $1 AND coalesce(
    nullif(convert_from(body, 'UTF8')::jsonb ->> 'user', ''), key_id, '') = $2)`
const REDACTIONS = "SELECT body FROM governor.entries WHERE kind = 'redaction'"

/**
 * The chains that commit to values of `target`, of all pods whose entries are in the database at `url`,
 * sorted. Rejects with the server's error.
 */
export function heldBy(url: string, target: EraseTarget): Promise<HeldBy[]> {
  return inSnapshot(url, STATEMENT_MS, async (client) => {
    const erased = await erasedIn(client)
    const chains = new Map<string, { entries: number; erased: number }>()
    for (const { writer_id, epoch, seq } of await committing(client, target)) {
      const name = `${writer_id}:${epoch}`
      const chain = chains.get(name) ?? { entries: 0, erased: 0 }
      chain.entries++
      if (erased.has(headKey({ writer_id, epoch, seq: Number(seq) }))) chain.erased++
      chains.set(name, chain)
    }
    return [...chains]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, counted]) => {
        const [writer = '', epoch = ''] = name.split(':')
        return { writer, epoch: Number(epoch), ...counted }
      })
  })
}

interface Place {
  readonly writer_id: string
  readonly epoch: number
  readonly seq: string
}

async function committing(client: PoolClient, target: EraseTarget): Promise<Place[]> {
  if ('requestId' in target) {
    return (await client.query<Place>(OF_REQUEST, [target.requestId])).rows
  }
  return (await client.query<Place>(OF_SUBJECT, namesOf(target.subject))).rows
}

/** The tenant, and its user or key id, of what `subjectOf` made of them; as long as entries keep names. */
function namesOf(subject: string): [tenant: string, who: string] {
  const slash = subject.indexOf('/')
  const tenant = slash === -1 ? subject : subject.slice(0, slash)
  const who = slash === -1 ? '' : subject.slice(slash + 1)
  const decoded = tenant.replaceAll('%2F', '/').replaceAll('%25', '%')
  return [decoded.slice(0, NAME_CHARS_MAX), who.slice(0, NAME_CHARS_MAX)]
}

async function erasedIn(client: PoolClient): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ body: Buffer }>(REDACTIONS)
  return new Set(rows.flatMap(({ body }) => redactedIn(body)).map(headKey))
}
