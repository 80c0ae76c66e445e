import { writeBundle } from '../audit/bundle.ts'
import { type ExportFormat, exporterOf } from '../audit/export.ts'
import { aboutLog } from '../audit/file.ts'
import { escapeText } from '../audit/format.ts'
import { scanEntries } from '../audit/query.ts'
import { LineBuffer } from './line-buffer.ts'
import { NO_PROGRESS, type Progress } from './progress.ts'

/** What `governor audit export` was asked for, wherever the entries are. */
export interface ExportAsked {
  /** `bundle` is everything, for `verify --bundle` and `import`. */
  readonly format: ExportFormat | 'bundle'
  /** Microseconds since 1970. */
  readonly sinceUs: number
  /** Governor's. */
  readonly version: string
  readonly write: (text: string) => void
  /** Takes what goes wrong, apart from the export itself. */
  readonly writeError: (text: string) => void
  readonly progress?: Progress
}

/** Writes entries of a log, oldest first, a page of rows at a time. Exit code 0, or 2 without a log. */
export function auditExport({ path, ...asked }: ExportAsked & { readonly path: string }): number {
  const { format, sinceUs, version, writeError, progress = NO_PROGRESS } = asked
  const lines = new LineBuffer(asked.write)
  try {
    if (format === 'bundle') writeBundle(path, lines.add, progress.add)
    else {
      const { head, line } = exporterOf(format, version)
      let isFirst = true
      scanEntries(path, sinceUs, (entry) => {
        if (isFirst) lines.add(head)
        isFirst = false
        lines.add(line(entry))
        progress.add(1)
      })
      if (isFirst) lines.add(head)
    }
    lines.flush()
    progress.end()
    return 0
  } catch (error) {
    lines.flush()
    progress.end()
    writeError(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}
