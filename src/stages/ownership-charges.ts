import { BatchUsage } from '../dialect/batch-usage.ts'
import type { Trail } from '../exchange.ts'
import type { Forecast } from '../limit/forecast.ts'
import { OutputCounter } from '../limit/output-counter.ts'
import type { OwnerStore } from '../owner/store.ts'
import type { Answer, Sink } from '../upstream/call.ts'

/** What a background response or a batch took is charged when it is fetched: once, whoever fetches it first. */

/** Endpoints that say once more what was used. */
const TOLD_AGAIN: ReadonlySet<string> = new Set([
  'batches.cancel',
  'batches.get',
  'responses.cancel',
  'responses.get',
])
/** Files that say so line by line. */
const FILES: ReadonlySet<string> = new Set(['files.content', 'messages.batches.results'])

/**
 * For a fetch that may have to be charged: nothing is set aside, and what it says in the end is charged.
 * Null for every other call.
 */
export function laterForecast(trail: Trail): Forecast | null {
  if (trail.owned?.isAwaited !== true) return null
  trail.counts = { inputTokens: 0, outputTokensHidden: 0, output: new OutputCounter(false) }
  return { inputTokens: 0, outputTokensMax: 0, price: null, allowsUnpriced: true }
}

/** The same answer; of a file that was not charged yet, its usage is added up as it passes. */
export function counted(answer: Answer, { owned, route }: Trail): Answer {
  if (owned?.isAwaited !== true || !FILES.has(route!.endpoint.api)) return answer
  const usage = new BatchUsage()
  owned.later = usage
  const { status, headers, whole } = answer
  if (whole !== null) {
    usage.push(whole)
    usage.end()
    return answer
  }
  const counting = (sink: Sink): Sink => ({
    write(chunk) {
      usage.push(chunk)
      return sink.write(chunk)
    },
    end() {
      usage.end()
      sink.end()
    },
    fail: (error) => sink.fail(error),
  })
  return {
    status,
    headers,
    whole,
    pipe: (sink) => answer.pipe(counting(sink)),
    resume: () => answer.resume(),
    abort: () => answer.abort(),
  }
}

/**
 * Once the answer has passed: it is charged when it says what was used for the first time, and takes nothing
 * otherwise. While the store cannot be asked, the next fetch is the one that is charged. Never rejects.
 */
export async function chargeOnce(store: OwnerStore | null, trail: Trail): Promise<void> {
  const { owned, route } = trail
  const [id] = route!.ids ?? []
  if (store === null || owned === null || id === undefined) return
  const { api } = route!.endpoint
  if (FILES.has(api)) trail.usage = owned.later?.usage ?? null
  else if (!TOLD_AGAIN.has(api)) return
  if (owned.isAwaited && isTold(trail)) {
    const isFirst = await store.settle(id).catch(() => false)
    if (isFirst) return
  }
  trail.usage = null
  trail.counts = null
}

/** Whether all of the answer came, and said what was used. */
function isTold({ usage, ending }: Trail): boolean {
  if (usage === null || ending !== 'complete') return false
  return usage.inputTokens !== null || usage.outputTokens !== null
}
