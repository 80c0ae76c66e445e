import { writeBundle } from '../audit/bundle.ts'
import { CallIndex, type CallFilter } from '../audit/call-index.ts'
import { CSV_HEAD, entryAsCsv } from '../audit/csv.ts'
import { aboutLog } from '../audit/file.ts'
import { entryAsJson, escapeText } from '../audit/format.ts'
import { scanEntries } from '../audit/query.ts'
import { recordReading, textsOfCall } from '../audit/read-content.ts'
import { shown } from './audit.ts'

/** What `governor audit query` was asked for. */
export interface QueryOptions {
  readonly path: string
  readonly filter: CallFilter
  readonly json: boolean
  /** Show prompts and answers, and record that; null does neither. */
  readonly content?: { readonly version: string } | null
  /** Takes whole lines, with their line feed. */
  readonly write: (text: string) => void
}

/** Shows the newest decisions that match, oldest first. Exit code 0, also for none; 2 without a log. */
export function auditQuery({ path, filter, json, write, content = null }: QueryOptions): number {
  try {
    if (content !== null) {
      recordReading({ path, ...content, command: 'audit query', about: asked(filter) })
    }
    const index = CallIndex.open(path)
    try {
      for (const entry of index.find(filter)) {
        write(shown(entry, content === null ? [] : textsOfCall(path, entry.requestId), json))
      }
    } finally {
      index.close()
    }
    return 0
  } catch (error) {
    write(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}

/** What was asked for, in words for the audit. */
function asked(filter: CallFilter): Record<string, string> {
  const { sinceUs, ...names } = filter
  const since = sinceUs === 0 ? {} : { since: new Date(sinceUs / 1000).toISOString() }
  const given = Object.entries(names).filter(([, value]) => value !== null)
  return { ...Object.fromEntries(given.map(([name, value]) => [name, String(value)])), ...since }
}

/** What `governor audit export` was asked for. */
export interface ExportOptions {
  readonly path: string
  /** `bundle` is everything, for `verify --bundle`. */
  readonly format: 'jsonl' | 'csv' | 'bundle'
  /** Microseconds since 1970. */
  readonly sinceUs: number
  readonly write: (text: string) => void
  /** Takes what goes wrong, apart from the export itself. */
  readonly writeError: (text: string) => void
}

/** Writes entries, oldest first, a page of rows at a time. Exit code 0, or 2 without a log. */
export function auditExport(options: ExportOptions): number {
  const { path, format, sinceUs, write, writeError } = options
  try {
    if (format === 'bundle') {
      writeBundle(path, write)
      return 0
    }
    let isFirst = true
    scanEntries(path, sinceUs, (entry) => {
      if (format === 'csv' && isFirst) write(CSV_HEAD)
      isFirst = false
      write(format === 'csv' ? entryAsCsv(entry) : `${entryAsJson(entry)}\n`)
    })
    return 0
  } catch (error) {
    writeError(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}
