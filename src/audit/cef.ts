import { type ExportFields, exportFields } from './export-fields.ts'
import type { StoredEntry } from './query.ts'

/**
 * Entries in the Common Event Format, version 0: seven header fields parted by `|`, then `key=value`
 * parted by spaces. Each text is cut to its key's length first and escaped then, backslash first.
 */

/** Longest values, characters, by ArcSight's dictionary; what is absent may have 1,023. */
const CHARS_MAX: Readonly<Record<string, number>> = {
  act: 63,
  app: 31,
  outcome: 63,
  externalId: 40,
  cs1: 4000,
  cs2: 4000,
  cs3: 4000,
  cs4: 4000,
  cs5: 4000,
  cs6: 4000,
}
const OTHER_CHARS_MAX = 1023
const HEADER_CHARS_MAX = 512
/** Control and format characters and separators: collectors end lines at some, terminals obey others. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** One line, its line feed included. `version` is Governor's. */
export function entryAsCef(entry: StoredEntry, version: string): string {
  const said = exportFields(entry)
  const head = ['Governor', 'Governor', version, signatureOf(said), nameOf(said)]
  const extension = Object.entries(valuesOf(said)).flatMap(([key, value]) => pair(key, value))
  return `CEF:0|${head.map(headerText).join('|')}|${severityOf(said)}|${extension.join(' ')}\n`
}

function signatureOf({ kind, decision, code }: ExportFields): string {
  return [kind, decision, code].filter((part) => part !== null).join(':')
}

function nameOf({ kind, decision, action, ending }: ExportFields): string {
  if (decision !== null) return `LLM call ${decision === 'deny' ? 'refused' : 'allowed'}: ${action}`
  return kind === 'outcome' ? `LLM call ended: ${ending ?? 'unknown'}` : `Governor ${action}`
}

/** 0 to 10: 3 at most is low, 4 to 6 medium. */
function severityOf({ decision, outcome }: ExportFields): number {
  if (decision === 'deny') return 5
  return outcome === 'failure' ? 3 : 1
}

function valuesOf(said: ExportFields): Readonly<Record<string, string | number | null>> {
  return {
    rt: said.timeMs,
    externalId: said.requestId,
    cat: said.kind,
    act: said.decision,
    app: said.operation,
    outcome: said.outcome,
    reason: said.code ?? said.ending,
    cnt: said.count,
    suid: said.keyId,
    suser: said.user,
    deviceExternalId: said.writer,
    ...custom('cs1', 'model', said.model ?? said.responseModel),
    ...custom('cs2', 'policy', said.policy),
    ...custom('cs3', 'entry', said.id),
    ...custom('cs4', 'tenant', said.tenant),
    ...custom('cs5', 'keyName', said.keyName),
    ...custom('cs6', 'upstream', said.upstream),
    ...custom('cn1', 'inputTokens', said.inputTokens),
    ...custom('cn2', 'outputTokens', said.outputTokens),
    ...custom('cn3', 'durationUs', said.durationUs),
    ...custom('flexString1', 'status', said.status === null ? null : String(said.status)),
  }
}

/** A custom field is nothing without its label, and the label nothing without it. */
function custom(key: string, name: string, value: string | number | null) {
  return value === null ? {} : { [`${key}Label`]: name, [key]: value }
}

function pair(key: string, value: string | number | null): string[] {
  if (value === null) return []
  if (typeof value === 'number') return [`${key}=${value}`]
  const escaped = extensionText(value.slice(0, CHARS_MAX[key] ?? OTHER_CHARS_MAX))
  return escaped === '' ? [] : [`${key}=${escaped}`]
}

/** A value ends where the next ` key=` begins, so neither `=` nor spaces at its ends may stay. */
function extensionText(value: string): string {
  return value
    .toWellFormed()
    .trim()
    .replaceAll('\\', '\\\\')
    .replaceAll('=', '\\=')
    .replaceAll('\r', '\\r')
    .replaceAll('\n', '\\n')
    .replace(UNSAFE, shown)
}

/** A header has no line breaks: they, and all else that is not text, become spaces. */
function headerText(value: string): string {
  return value
    .slice(0, HEADER_CHARS_MAX)
    .toWellFormed()
    .replace(UNSAFE, ' ')
    .replaceAll('\\', '\\\\')
    .replaceAll('|', '\\|')
}

/** As `\\u202e`: its backslash is one of the text, so it is written twice. */
function shown(found: string): string {
  let escaped = ''
  for (let index = 0; index < found.length; index++) {
    escaped += `\\\\u${found.charCodeAt(index).toString(16).padStart(4, '0')}`
  }
  return escaped
}
