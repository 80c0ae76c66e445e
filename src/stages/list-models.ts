import { withBody } from '../answers/held.ts'
import { type ModelList, readModelList } from '../dialect/model-list.ts'
import { GovernorError } from '../errors.ts'
import type { Facts, Operation, Route, Trail } from '../exchange.ts'
import { evaluate } from '../policy/evaluate.ts'
import { inTurns } from '../turns.ts'
import type { Answer } from '../upstream/call.ts'
import type { RunningUpstream, World } from '../world.ts'

/** Answers that list models, cut down to those the caller may use. */

const LISTING: ReadonlySet<string> = new Set(['models', 'api.tags', 'api.ps'])
/** What a model is used for. */
const USES: readonly Operation[] = [
  'chat',
  'completions',
  'embeddings',
  'images',
  'speech',
  'transcription',
  'moderations',
  'rerank',
  'tokens',
  'realtime',
  'batches',
  'fine_tuning',
  'evals',
  'assistants',
]
/** The smallest call there is: who may make it may use the model for something. */
const NOTHING: Facts = {
  model: '',
  models: [],
  stream: false,
  maxOutputTokens: 1,
  tools: [],
  texts: { values: [], pointer: (index) => `no text ${index}` },
  inputChars: 0,
  uninspectable: [],
  askUsage: null,
}

/** Looked at before the event loop turns, about a millisecond's worth. */
const MODELS_PER_TURN = 32
/** No provider has as many; each costs every policy a look per use. */
const MODELS_LISTED_MAX = 25_000

function* nothing(): Generator<void, void> {}

/** Whether an endpoint answers with a list of models, of which some may be left out. */
export function listsModels({ endpoint, pathModel }: Route): boolean {
  return pathModel === null && endpoint.body === 'none' && LISTING.has(endpoint.api)
}

/**
 * The same answer with the models that the upstream's `models` and the policies leave to this caller.
 * The rest of its bytes stays. An answer without a list passes as it is. Throws UPSTREAM_FAILED for a list
 * that cannot be read.
 */
export async function listModels(world: World, answer: Answer, trail: Trail): Promise<Answer> {
  if (answer.status !== 200) return answer
  const list = await readList(answer)
  if (list === null) return answer
  const kept: boolean[] = []
  for (const model of list.models) {
    kept.push(await mayUse(world, model, trail))
    if (kept.length % MODELS_PER_TURN === 0) await inTurns(nothing())
  }
  return withBody(answer, list.cut(kept))
}

async function readList(answer: Answer): Promise<ModelList | null> {
  try {
    const list = answer.whole === null ? undefined : await inTurns(readModelList(answer.whole))
    if (list === null || (list?.models.length ?? Infinity) <= MODELS_LISTED_MAX) return list ?? null
  } catch (thrown) {
    if (!(thrown instanceof GovernorError)) throw thrown
  }
  answer.abort()
  throw new GovernorError('UPSTREAM_FAILED', { detail: 'its list of models cannot be read' })
}

async function mayUse(world: World, model: string, trail: Trail): Promise<boolean> {
  const upstream = trail.upstream as RunningUpstream
  const subject = { principal: trail.principal!, models: [model], upstream: upstream.name }
  if (model === '' || upstream.serves.fails({ ...subject, operation: 'chat' }) !== null) {
    return false
  }
  for (const operation of USES) {
    const route = { endpoint: { ...trail.route!.endpoint, operation }, pathModel: null }
    const decision = await evaluate(world.policies, {
      principal: trail.principal!,
      route,
      facts: { ...NOTHING, model, models: [model] },
      upstream,
      wallMs: trail.occurredAtMs,
      unusual: trail.unusual,
    })
    if (decision.effect === 'allow') return true
  }
  return false
}
