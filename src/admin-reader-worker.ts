import { parentPort } from 'node:worker_threads'

import type { AuditAnswer, AuditQuestion } from './admin-questions.ts'
import { CallIndex } from './audit/call-index.ts'
import { entryAsJson } from './audit/format.ts'
import { explainRecordedCall } from './explain-recorded.ts'

/** The thread that reads the audit for the admin API: a log may be a gigabyte. */

const port = parentPort
port?.on('message', (question: AuditQuestion) => port?.postMessage(answered(question)))

function answered(question: AuditQuestion): AuditAnswer {
  try {
    return answer(question)
  } catch (error) {
    return { kind: 'failed', message: (error as Error).message }
  }
}

function answer(question: AuditQuestion): AuditAnswer {
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
