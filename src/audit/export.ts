import { entryAsCef } from './cef.ts'
import { CSV_HEAD, entryAsCsv } from './csv.ts'
import { entryAsEcs } from './ecs.ts'
import { entryAsJson } from './format.ts'
import { entryAsOcsf } from './ocsf.ts'
import type { StoredEntry } from './query.ts'

/** The formats of `governor audit export`. */
export const EXPORT_FORMATS = ['jsonl', 'csv', 'ocsf', 'ecs', 'cef'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

/** How entries are written in one format. */
export interface Exporter {
  /** What comes first, with its line end; '' for most. */
  readonly head: string
  /** One entry as one line, with its line end. */
  readonly line: (entry: StoredEntry) => string
}

/** The exporter of a format; `version` is Governor's, which some formats name. */
export function exporterOf(format: ExportFormat, version: string): Exporter {
  switch (format) {
    case 'jsonl':
      return { head: '', line: (entry) => `${entryAsJson(entry)}\n` }
    case 'csv':
      return { head: CSV_HEAD, line: entryAsCsv }
    case 'ocsf':
      return { head: '', line: (entry) => entryAsOcsf(entry, version) }
    case 'ecs':
      return { head: '', line: (entry) => entryAsEcs(entry, version) }
    case 'cef':
      return { head: '', line: (entry) => entryAsCef(entry, version) }
  }
}
