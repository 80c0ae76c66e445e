import { escapeText } from './format.ts'
import type { StoredEntry } from './query.ts'

/** Columns of the CSV, and the member of an entry's body each one shows. */
const MEMBERS: Readonly<Record<string, string>> = {
  decision: 'decision',
  outcome: 'outcome',
  status: 'status',
  code: 'code',
  policy: 'policy',
  tenant: 'tenant',
  key_id: 'key_id',
  key_name: 'key_name',
  user: 'user',
  operation: 'operation',
  model: 'gen_ai.request.model',
  upstream: 'upstream',
  input_tokens: 'gen_ai.usage.input_tokens',
  output_tokens: 'gen_ai.usage.output_tokens',
  duration_us: 'duration_us',
}

/** The first line (RFC 4180, with its line end). */
export const CSV_HEAD = `time,writer,epoch,seq,kind,request_id,${Object.keys(MEMBERS).join(',')}\r\n`

/** What spreadsheets take for the beginning of a formula, full-width forms included. */
const FORMULA = /^\s*[=+\-@\t\r|%＝＋－＠]/u

/** One line for an entry. A field that a spreadsheet would run gets an apostrophe in front. */
export function entryAsCsv(entry: StoredEntry): string {
  const { occurredAtUs, writer, epoch, seq, kind, requestId } = entry
  const said = bodyOf(entry.body)
  const date = new Date(occurredAtUs / 1000)
  const time = Number.isNaN(date.getTime()) ? '' : date.toISOString()
  const fields = [time, writer, epoch, seq, kind, requestId]
  const members = Object.values(MEMBERS).map((name) => said[name])
  return `${[...fields, ...members].map(field).join(',')}\r\n`
}

function field(value: unknown): string {
  if (typeof value === 'number') return String(value)
  if (typeof value !== 'string') return ''
  const escaped = escapeText(value)
  const safe = FORMULA.test(value) ? `'${escaped}` : escaped
  return /[",\r\n]/.test(safe) || safe !== value ? `"${safe.replaceAll('"', '""')}"` : safe
}

function bodyOf(body: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
