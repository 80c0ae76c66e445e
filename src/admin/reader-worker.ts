import { parentPort, workerData } from 'node:worker_threads'

import { CallIndex } from '../audit/call-index.ts'
import { entryAsJson } from '../audit/format.ts'
import { type PoolCells, watchPool } from '../audit/pool-cells.ts'
import { explainRecordedCall } from '../explain-recorded.ts'
import type { AuditAnswer, AuditQuestion, RemoteQuestion } from './questions.ts'

/** The thread that reads the audit for the admin API: a log may be a gigabyte. */

const port = parentPort
port?.on('message', (question: AuditQuestion) => {
  void answered(question).then((told) => port?.postMessage(told))
})

/** Of PostgreSQL: `insufficient_privilege`. */
const FORBIDDEN = '42501'
/** Less than the thread is waited for, so that it is the database that is late, and not the thread. */
const REMOTE_MS = 20_000

async function answered(question: AuditQuestion): Promise<AuditAnswer> {
  try {
    return question.kind === 'remote' ? await remoteAnswer(question) : answer(question)
  } catch (error) {
    return { kind: 'failed', message: (error as Error).message }
  }
}

async function remoteAnswer({ url, filter }: RemoteQuestion): Promise<AuditAnswer> {
  // The client of PostgreSQL is loaded by those who ask it.
  const { checkSchema, closePool, openPool, postgresMessage } = await import('../audit/postgres.ts')
  const { pageOfCalls } = await import('../audit/postgres-calls.ts')
  const pool = openPool(url, REMOTE_MS)
  watchPool(pool, workerData as PoolCells)
  try {
    await checkSchema(pool)
    const { entries, next } = await pageOfCalls(pool, filter)
    return { kind: 'remote', lines: entries.map((entry) => entryAsJson(entry)), next }
  } catch (error) {
    const isForbidden = (error as { readonly code?: unknown }).code === FORBIDDEN
    return { kind: 'away', message: postgresMessage(error), isForbidden }
  } finally {
    await closePool(pool)
  }
}

function answer(question: Exclude<AuditQuestion, RemoteQuestion>): AuditAnswer {
  if (question.kind === 'explain') {
    const { snapshot, requestId, tenant } = question
    const found = explainRecordedCall(snapshot, requestId, tenant)
    if (found === null) return { kind: 'explain', found }
    return {
      kind: 'explain',
      found: { lines: found.entries.map((entry) => entryAsJson(entry)), told: found.told },
    }
  }
  const index = CallIndex.open(question.path)
  try {
    const { entries, next } = index.page(question.filter)
    return { kind: 'query', lines: entries.map((entry) => entryAsJson(entry)), next }
  } finally {
    index.close()
  }
}
