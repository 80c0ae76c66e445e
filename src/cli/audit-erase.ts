import { type EraseTarget, erasePersonal } from '../audit/erase.ts'
import { aboutLog } from '../audit/file.ts'
import { escapeText } from '../audit/format.ts'

/** What `governor audit erase` was asked for. */
export interface EraseOptions {
  readonly path: string
  readonly version: string
  /** `TENANT/USER`, `TENANT/KEY_ID` or a tenant, as `subjectOf` names callers. */
  readonly subject: string | null
  readonly requestId: string | null
  readonly write: (text: string) => void
}

/**
 * Deletes the personal values of a subject or of one call, and records that it was allowed. Exit code
 * 0 done · 1 there are none · 2 not exactly one of the two was named, or the log cannot be written.
 */
export function auditErase(options: EraseOptions): number {
  const { path, version, subject, requestId, write } = options
  const target = targetOf(subject, requestId)
  if (target === null) {
    write('Nothing was erased: name --subject TENANT/USER (or TENANT/KEY_ID), or --request ID\n')
    return 2
  }
  try {
    const entries = erasePersonal(path, version, target)
    write(
      entries === 0
        ? 'Nothing to erase: there are no personal values of it\n'
        : `Erased the personal values of ${entries} entries; the entries stay and verify.\n`,
    )
    return entries === 0 ? 1 : 0
  } catch (error) {
    write(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}

function targetOf(subject: string | null, requestId: string | null): EraseTarget | null {
  if (subject !== null && requestId === null) return { subject }
  return subject === null && requestId !== null ? { requestId } : null
}
