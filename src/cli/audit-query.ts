import { CallIndex, type CallFilter } from '../audit/call-index.ts'
import { aboutLog } from '../audit/file.ts'
import { escapeText } from '../audit/format.ts'
import { recordReading, textsOfCall } from '../audit/read-content.ts'
import { shown } from './audit.ts'
import { NO_PROGRESS, type Progress } from './progress.ts'

/** What `governor audit query` was asked for. */
export interface QueryOptions {
  readonly path: string
  readonly filter: CallFilter
  readonly json: boolean
  /** Show prompts and answers, and record that; null does neither. */
  readonly content?: { readonly version: string } | null
  /** Takes whole lines, with their line feed. */
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
  /** Of the index, which the first question makes. */
  readonly progress?: Progress
}

/** Shows the newest decisions that match, oldest first. Exit code 0, also for none; 2 without a log. */
export function auditQuery(options: QueryOptions): number {
  const { path, filter, json, write, content = null, progress = NO_PROGRESS } = options
  const { writeError = write } = options
  try {
    if (content !== null) {
      recordReading({ path, ...content, command: 'audit query', about: asked(filter) })
    }
    const index = openIndex(path, progress)
    try {
      for (const entry of index.find(filter)) {
        write(shown(entry, content === null ? [] : textsOfCall(path, entry.requestId), json))
      }
    } finally {
      index.close()
    }
    return 0
  } catch (error) {
    writeError(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}

/** What was asked for, in words for the audit. */
function asked({ tenant, key, model, decision, policy, sinceUs, limit }: CallFilter) {
  const names = Object.entries({ tenant, key, model, decision, policy })
  return Object.fromEntries([
    ...names.filter((each): each is [string, string] => each[1] !== null),
    ['limit', String(limit)],
    ...(sinceUs === 0 ? [] : [['since', new Date(sinceUs / 1000).toISOString()] as const]),
  ]) as Record<string, string>
}

function openIndex(path: string, progress: Progress): CallIndex {
  try {
    return CallIndex.open(path, progress.add)
  } finally {
    progress.end()
  }
}
