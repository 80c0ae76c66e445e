import { heldBy } from '../audit/erase-postgres.ts'
import { type EraseTarget, erasePersonal } from '../audit/erase.ts'
import { aboutLog } from '../audit/file.ts'
import { escapeText } from '../audit/format.ts'
import { ask } from './audit-postgres.ts'

/** What `governor audit erase` was asked for. */
export interface EraseOptions {
  readonly path: string
  readonly version: string
  /** `TENANT/USER`, `TENANT/KEY_ID` or a tenant, as `subjectOf` names callers. */
  readonly subject: string | null
  readonly requestId: string | null
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/**
 * Deletes the personal values of a subject or of one call, and records that it was allowed. Exit code
 * 0 done · 1 there are none · 2 not exactly one of the two was named, or the log cannot be written.
 */
export function auditErase(options: EraseOptions): number {
  const { path, version, subject, requestId, write, writeError = write } = options
  const target = targetOf(subject, requestId)
  if (target === null) {
    writeError(NO_TARGET)
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
    writeError(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}

/**
 * `erase --url`: values are shipped nowhere, so there is nothing to erase in PostgreSQL. Says that, and beside
 * the logs of which writers they lie, or lay. Exit code 0 all of them are recorded as erased · 1 some are not,
 * or there never were any · 2 not exactly one target was named, or the database cannot be asked.
 */
export async function auditErasePostgres(
  options: Omit<EraseOptions, 'path' | 'version'> & { readonly url: string | null },
): Promise<number> {
  const { url, subject, requestId, write, writeError = write } = options
  const target = targetOf(subject, requestId)
  if (target === null) {
    writeError(NO_TARGET)
    return 2
  }
  return ask(options, async () => {
    const chains = await heldBy(url ?? '', target)
    if (chains.length === 0) {
      write('Nothing to erase: no entry in PostgreSQL commits to personal values of it\n')
      return 1
    }
    write(
      'Nothing was erased: PostgreSQL holds no personal values, only salted commitments to them. The values ' +
        'lie beside the logs of the sidecars; run governor audit erase there, without --url:\n',
    )
    for (const { writer, epoch, entries, erased } of chains) {
      write(`writer ${writer} epoch ${epoch}: ${entries} entries, ${erased} recorded as erased\n`)
    }
    const isOver = chains.every(({ entries, erased }) => erased === entries)
    write(
      isOver
        ? 'All of them are recorded as erased.\n'
        : 'Not all of them are recorded as erased. A log that is gone took its values with it.\n',
    )
    return isOver ? 0 : 1
  })
}

const NO_TARGET =
  'Nothing was erased: name --subject TENANT/USER (or TENANT/KEY_ID), or --request ID\n'

function targetOf(subject: string | null, requestId: string | null): EraseTarget | null {
  if (subject !== null && requestId === null) return { subject }
  return subject === null && requestId !== null ? { requestId } : null
}
