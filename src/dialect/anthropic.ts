/** The Anthropic API: messages, their batches, token counts, models and files. */
import type { Dialect, Lookup } from '../exchange.ts'
import { anthropicAnswers } from './anthropic-answers.ts'
import { errorBody, errorFrame } from './anthropic-errors.ts'
import { inspect } from './anthropic-inspect.ts'
import { meter } from './anthropic-meter.ts'
import { ANTHROPIC_ROWS } from './anthropic-table.ts'
import { ANTHROPIC_CLOSED, closedHint } from './closed.ts'
import type { ParameterTable } from './set-members.ts'
import { compileTable } from './table.ts'

const TABLE = compileTable(ANTHROPIC_ROWS)

const MESSAGES: ParameterTable = {
  max_output_tokens: { names: ['max_tokens'] },
  temperature: { names: ['temperature'] },
  top_p: { names: ['top_p'] },
  service_tier: { names: ['service_tier'] },
}

/** The dialect of Anthropic and of servers that speak its API. */
export const anthropic: Dialect = {
  name: 'anthropic',
  mark: 'anthropic-version',
  requestIdHeader: 'request-id',
  requestHeaders: [
    'accept',
    'anthropic-beta',
    'anthropic-version',
    'idempotency-key',
    'traceparent',
    'user-agent',
    'x-client-request-id',
    'x-stainless-*',
  ],
  responseHeaders: [
    'anthropic-*',
    'cache-control',
    'content-disposition',
    'content-type',
    'request-id',
    'retry-after',
    'retry-after-ms',
    'x-should-retry',
  ],
  lookup,
  inspect,
  parameters: (api) => (api === 'messages' ? MESSAGES : {}),
  credential: (secret) => ({ 'x-api-key': secret }),
  answers: anthropicAnswers,
  errorBody,
  errorFrame,
  meter,
}

function lookup(method: string, path: string): Lookup {
  const found = TABLE.find(method, path)
  if (found !== null) return found
  if (path !== '/v1' && !path.startsWith('/v1/')) return { kind: 'outside' }
  const hint = closedHint(ANTHROPIC_CLOSED, path)
  if (hint !== undefined) return { kind: 'unknown', hint }
  if (!path.startsWith('/v1/v1/')) return { kind: 'unknown' }
  return { kind: 'unknown', hint: `Use ${path.slice(3)}: ANTHROPIC_BASE_URL has no /v1.` }
}
