/** Which methods and paths of the OpenAI API are known. All others are refused. */
import type { Lookup } from '../exchange.ts'
import { closedHint, OPENAI_CLOSED } from './closed.ts'
import { OPENAI_ROWS } from './openai-table.ts'
import { compileTable } from './table.ts'

/** The table of `openai-table.ts`, compiled. */
export const OPENAI_TABLE = compileTable(OPENAI_ROWS)

/** What Groq's own client puts before every path, whatever its base URL is. */
const GROQ = '/openai'

/** What a raw path without query means. */
export function lookup(method: string, path: string): Lookup {
  return OPENAI_TABLE.find(method, path) ?? belowGroq(method, path) ?? unknownPath(path)
}

function belowGroq(method: string, path: string): Lookup | null {
  if (!path.startsWith(`${GROQ}/v1/`)) return null
  const sentAs = path.slice(GROQ.length)
  const found = OPENAI_TABLE.find(method, sentAs)
  return found?.kind === 'endpoint' ? { ...found, sentAs } : found
}

function unknownPath(path: string): Lookup {
  if (path === '/v1' || path.startsWith('/v1/')) {
    const repeated = path === '/v1/v1' || path.startsWith('/v1/v1/')
    const closed = closedHint(OPENAI_CLOSED, path)
    if (closed !== undefined) return { kind: 'unknown', hint: closed }
    const bare = path.slice(0, -1)
    if (path.endsWith('/') && OPENAI_TABLE.has(bare)) {
      return { kind: 'unknown', hint: `Use ${bare}, without a slash at its end.` }
    }
    if (!repeated) return { kind: 'unknown' }
    return { kind: 'unknown', hint: `Use ${path.slice(3)}: OPENAI_BASE_URL ends in /v1 once.` }
  }
  const lower = path.toLowerCase()
  if (lower !== path && OPENAI_TABLE.has(lower)) {
    return { kind: 'outside', hint: `Use ${lower}: paths are case-sensitive.` }
  }
  const prefixed = `/v1${path}`
  if (OPENAI_TABLE.has(prefixed) || path.startsWith('/models/')) {
    return { kind: 'outside', hint: `Use ${prefixed}: OPENAI_BASE_URL ends in /v1.` }
  }
  return { kind: 'outside' }
}
