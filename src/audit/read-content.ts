import { userInfo } from 'node:os'

import { wallMs } from '../clock.ts'
import { appendOnce } from './append-once.ts'
import { hasContent, type KeptText, keptTexts } from './content.ts'
import { adminBody } from './entry.ts'
import { epochFiles, openForReading } from './file.ts'
import type { StoredEntry } from './query.ts'

/** What somebody reads prompts and answers for. */
export interface ContentReading {
  readonly path: string
  readonly version: string
  /** Such as `audit query`. */
  readonly command: string
  /** What was asked for, such as a request id. */
  readonly about: Readonly<Record<string, string>>
}

/**
 * Says in the audit that somebody is about to read prompts and answers, and who: durable when this
 * returns. Throws an Error when the log cannot be written; then nothing must be shown.
 */
export function recordReading({ path, version, command, about }: ContentReading): void {
  const said = { command, by: systemUser(), ...about }
  appendOnce(path, version, [{ kind: 'admin', body: adminBody('audit.content', said, wallMs()) }])
}

/** The texts kept of a call, oldest first, from all files of the log; empty when there are none. */
export function textsOfCall(path: string, requestId: string): KeptText[] {
  if (requestId === '') return []
  return epochFiles(path).flatMap((file) => {
    const db = openForReading(file.path)
    try {
      return hasContent(db) ? keptTexts(db, requestId) : []
    } finally {
      db.close()
    }
  })
}

/** The texts that one entry commits to. */
export function textsOfEntry(path: string, entry: StoredEntry): KeptText[] {
  if (!entry.body.includes('"content":{')) return []
  return textsOfCall(path, entry.requestId).filter(
    ({ writer, epoch, seq }) =>
      writer === entry.writer && epoch === entry.epoch && seq === entry.seq,
  )
}

/** Of the operating system: its name, or its number where it has none. */
function systemUser(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`
  }
}
