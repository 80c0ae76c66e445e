import type { KeptText } from './content.ts'
import type { StoredEntry } from './query.ts'

/**
 * Entries as lines of text. Parts of them were chosen by clients, so nothing reaches a terminal
 * that it would obey: control characters, C1 included, and those that reorder or hide text are
 * shown as escapes.
 */

type Body = Readonly<Record<string, unknown>>

/** Control characters, format characters (zero-width, bidirectional, tags), line separators. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Shows what a terminal would obey as `\uXXXX`; inside JSON strings the meaning stays the same. */
export function escapeText(text: string): string {
  return text.toWellFormed().replace(UNSAFE, escapeOne)
}

function escapeOne(found: string): string {
  let escaped = ''
  for (let index = 0; index < found.length; index++) {
    escaped += `\\u${found.charCodeAt(index).toString(16).padStart(4, '0')}`
  }
  return escaped
}

/** One line of JSON: where the entry stands, its body as `entry`, and with `texts` those as `content`. */
export function entryAsJson(entry: StoredEntry, texts: readonly KeptText[] = []): string {
  const { writer, epoch, seq, body } = entry
  const whole = parse(body) === null ? JSON.stringify(body) : body
  const content = texts.map(({ name, text }) => ({ name, text }))
  const more = content.length === 0 ? '' : `,"content":${JSON.stringify(content)}`
  return escapeText(`{"writer":"${writer}","epoch":${epoch},"seq":${seq},"entry":${whole}${more}}`)
}

/**
 * One line for a person:
 * `2026-11-21T13:31:07.123Z  deny 403 POLICY_DENIED  chat gpt-5  tenant=dev policy=p1  <request id>`.
 */
export function entryAsText(entry: StoredEntry): string {
  const body = parse(entry.body) ?? {}
  const time = Number.isSafeInteger(entry.occurredAtUs) ? timeOf(entry.occurredAtUs) : '-'
  const parts = [time, ...partsOf(entry, body), entry.requestId]
  return escapeText(parts.filter((part) => part !== '').join('  '))
}

/** A line for each text, below its entry. */
export function textsAsText(texts: readonly KeptText[]): string[] {
  return texts.map(({ name, text }) => {
    return escapeText(`    ${name}  ${text ?? '(cannot be decrypted: see governor audit verify)'}`)
  })
}

function partsOf(entry: StoredEntry, body: Body): string[] {
  switch (entry.kind) {
    case 'decision':
      return decisionParts(body)
    case 'outcome':
      return outcomeParts(body)
    case 'unauthenticated':
      return ['unauthenticated', codesOf(body), `since=${plain(body['since'])}`]
    case 'writer.open':
      return [
        'writer.open',
        pairs(body, { role: 'role', pid: 'pid', epoch: 'epoch', version: 'version' }),
      ]
    case 'policy.load':
      return ['policy.load', pairs(body, { digest: 'policy_digest' })]
    case 'exception.used': {
      const about = { exception: 'exception', policy: 'policy', approved_by: 'approved_by' }
      return ['exception.used', pairs(body, { ...about, calls: 'count', since: 'since' })]
    }
    case 'checkpoint':
      return ['checkpoint', pairs(body, { size: 'size' })]
    case 'retention':
      return ['retention', pairs(body, { older_than: 'older_than' })]
    case 'admin':
      return adminParts(body)
    default:
      return [entry.kind]
  }
}

function decisionParts(body: Body): string[] {
  const verdict = words(body['decision'], body['status'], body['code'])
  const folded = body['repeated'] === undefined ? '' : codesOf(body)
  const what = words(body['operation'], body['gen_ai.request.model'])
  const who = { tenant: 'tenant', key: 'key_id', user: 'user', policy: 'policy' }
  return [verdict, folded, what, pairs(body, who)]
}

/** A command has nobody behind it but who could run it; the admin API knows whose key it was. */
function adminParts(body: Body): string[] {
  const by = body['by']
  const who = typeof by === 'object' && by !== null ? (by as Body) : {}
  const action = words(body['action'], body['code'])
  const repeated = plain(body['repeated'])
  return [
    'admin',
    repeated === '' ? action : `${action} ×${repeated}`,
    JSON.stringify(body['about'] ?? {}),
    pairs(who, { tenant: 'tenant', key: 'key_id' }),
  ]
}

function outcomeParts(body: Body): string[] {
  const tokens = pairs(body, {
    input_tokens: 'gen_ai.usage.input_tokens',
    output_tokens: 'gen_ai.usage.output_tokens',
  })
  const us = body['duration_us']
  const took = typeof us === 'number' ? `${(us / 1000).toFixed(1)}ms` : ''
  return [`outcome ${words(body['outcome'], body['status'], body['code'])}`, tokens, took]
}

function codesOf(body: Body): string {
  const codes = body['codes']
  if (typeof codes !== 'object' || codes === null) return ''
  return Object.entries(codes)
    .map(([code, count]) => `${code}×${String(count)}`)
    .join(' ')
}

function words(...values: readonly unknown[]): string {
  return values
    .map(plain)
    .filter((word) => word !== '')
    .join(' ')
}

function pairs(body: Body, names: Readonly<Record<string, string>>): string {
  return Object.entries(names)
    .map(([shown, member]) => [shown, plain(body[member])] as const)
    .filter(([, value]) => value !== '')
    .map(([shown, value]) => `${shown}=${value}`)
    .join(' ')
}

function plain(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

/** Also of times that no calendar has: the column could have been altered. */
function timeOf(us: number): string {
  const date = new Date(us / 1000)
  return Number.isNaN(date.getTime()) ? '-' : date.toISOString()
}

function parse(body: string): Body | null {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Body) : null
  } catch {
    return null
  }
}
