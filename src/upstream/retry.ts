import type { RetryConfig } from '../config/snapshot.ts'
import type { GovernorError } from '../errors.ts'
import type { Operation } from '../exchange.ts'
import type { Answer } from './call.ts'
import { wasUnsent } from './fault.ts'

/** Retries in stock when nothing failed for a while, so that few calls can be tried again, too. */
const STOCK_MAX = 10
/** Before the first retry, at most; twice as long before each further one. */
const FIRST_WAIT_MS = 250

/**
 * How many retries an upstream may cost: each call puts a share of one in stock, each retry takes one
 * out. A provider in trouble is called 1 + budget times as often, not several times.
 */
export class RetryBudget {
  readonly #share: number
  #stock = STOCK_MAX

  constructor(share: number) {
    this.#share = share
  }

  /** A call, not a retry, is made. */
  call(): void {
    this.#stock = Math.min(STOCK_MAX, this.#stock + this.#share)
  }

  /** Takes a retry out, or says that there is none left. */
  take(): boolean {
    if (this.#stock < 1) return false
    this.#stock -= 1
    return true
  }
}

/** What came of one try: an answer that has begun, or why there is none. */
export type Outcome = { readonly answer: Answer } | { readonly error: GovernorError }

/**
 * Operations that leave nothing behind but a bill, so that an answer which says "not now" may be asked
 * for again. Of the others (a file, a batch, a thread) a second one might be made.
 */
const REPEATABLE: ReadonlySet<Operation> = new Set([
  'chat',
  'completions',
  'embeddings',
  'images',
  'speech',
  'transcription',
  'moderations',
  'rerank',
  'tokens',
  'models',
  'files.read',
  'stored.read',
])

/** What may be repeated where the file does not say. */
export const REPEATS = { on: [429, 502, 503, 504], maybeBilled: false }

/** Whether trying again cannot do anything twice that the file does not accept. */
export function mayRepeat(
  outcome: Outcome,
  operation: Operation,
  options: Pick<RetryConfig, 'on' | 'maybeBilled'>,
): boolean {
  if ('error' in outcome) {
    if (wasUnsent(outcome.error)) return true
    const isLost = ['UPSTREAM_FAILED', 'UPSTREAM_TIMEOUT'].includes(outcome.error.code)
    return options.maybeBilled && isLost && REPEATABLE.has(operation)
  }
  const { status } = outcome.answer
  // A provider that counts calls refuses before it does anything (RFC 6585 §4).
  return options.on.includes(status) && (status === 429 || REPEATABLE.has(operation))
}

/** Whether the upstream is to blame: what its breaker counts. */
export function hasFailed(outcome: Outcome): boolean {
  if ('answer' in outcome) return outcome.answer.status >= 500 && outcome.answer.status !== 501
  const { code } = outcome.error
  return (
    code === 'UPSTREAM_UNREACHABLE' || code === 'UPSTREAM_TIMEOUT' || code === 'UPSTREAM_FAILED'
  )
}

/**
 * How long to wait before the same upstream is tried for the `attempt`th time again, milliseconds: full
 * jitter (any time up to a bound that doubles), and never less than the answer asks for. Null when it
 * asks for more than `waitMsMax`. `random` is from 0 to 1.
 */
export function retryWaitMs(
  outcome: Outcome,
  attempt: number,
  { waitMsMax, random }: { readonly waitMsMax: number; readonly random: number },
): number | null {
  const askedMs = 'answer' in outcome ? retryAfterMs(outcome.answer) : 0
  if (askedMs > waitMsMax) return null
  const boundMs = Math.min(waitMsMax, FIRST_WAIT_MS * 2 ** (attempt - 1))
  return Math.max(askedMs, Math.ceil(boundMs * random))
}

/** `retry-after-ms`, else `retry-after` in seconds; a date (RFC 9110 §10.2.3) is longer than any wait. */
function retryAfterMs({ headers }: Answer): number {
  const exact = headers['retry-after-ms']
  if (typeof exact === 'string' && /^\d{1,9}(\.\d*)?$/.test(exact)) return Number(exact)
  const seconds = headers['retry-after']
  if (seconds === undefined) return 0
  return typeof seconds === 'string' && /^\d{1,7}(\.\d*)?$/.test(seconds)
    ? Number(seconds) * 1000
    : Infinity
}
