import type { DescribedRequest, Snapshot } from '../config/snapshot.ts'
import type { Operation, Principal, Upstream } from '../exchange.ts'
import type { PolicyCall } from './evaluate.ts'
import { compileAliases, ModelNames } from './model-names.ts'
import { compileSelectors, NO_SELECTORS, type SelectorTest, type Subject } from './selectors.ts'

/** Turns a described request into what policies are asked about. */

/** Chooses the upstream of a described call; null where none serves it, which a real call is told by 404. */
export type Router = (request: DescribedRequest) => Upstream | null

/**
 * The rule of the pipeline's `route`: the first upstream that serves every model. `former` is preferred
 * while it serves them, because a call may have named it by its mount.
 */
export function upstreamRouter({
  upstreams,
  aliases,
}: Pick<Snapshot, 'upstreams' | 'aliases'>): (
  subject: Subject,
  former?: string | null,
) => Upstream | null {
  const names = new ModelNames(compileAliases(aliases))
  const serving: (readonly [Upstream, SelectorTest])[] = upstreams.map(
    ({ name, dialect, models }) => [
      { name, dialect },
      compileSelectors({ ...NO_SELECTORS, models }, names, {
        quantifier: 'every',
        modellessPasses: true,
      }),
    ],
  )
  return (subject, former = null) => {
    const able = serving.filter(([, serves]) => serves.fails(subject) === null)
    const same = able.find(([{ name }]) => name === former)
    return (same ?? able[0])?.[0] ?? null
  }
}

/** The same for described calls, which have no mount. */
export function describedRouter(snapshot: Pick<Snapshot, 'upstreams' | 'aliases'>): Router {
  const route = upstreamRouter(snapshot)
  return (request) =>
    route({
      principal: principalOf(request),
      operation: request.operation,
      models: modelsOf(request),
      upstream: null,
    })
}

/** Operations that produce text, so that an output cap means something. */
export const GENERATING: ReadonlySet<Operation> = new Set(['chat', 'completions'])

/** What policies see of a described call; `nowMs` is when it is made where it does not say. */
export function describedCall(
  request: DescribedRequest,
  upstream: Upstream | null,
  nowMs: number,
): PolicyCall {
  const { operation, model, input, stream, maxOutputTokens, tools, uninspectable, timeMs } = request
  return {
    principal: principalOf(request),
    route: {
      endpoint: {
        operation,
        api: 'check',
        body: 'json',
        query: [],
        generates: GENERATING.has(operation),
      },
      pathModel: null,
    },
    facts: {
      model,
      models: modelsOf(request),
      stream,
      maxOutputTokens,
      tools,
      texts: { values: input, pointer: (index) => `/input/${index}` },
      inputChars: input.reduce((sum, text) => sum + text.length, 0),
      uninspectable: uninspectable.map((kind) => ({ kind, pointer: '/uninspectable' })),
      askUsage: null,
    },
    upstream,
    wallMs: timeMs ?? nowMs,
    unusual: request.unusual,
  }
}

function modelsOf({ model }: DescribedRequest): readonly string[] {
  return model === '' ? [] : [model]
}

function principalOf({ tenant, user, key, roles, labels }: DescribedRequest): Principal {
  return {
    via: key === '' ? 'pod' : 'key',
    tenant,
    keyId: key,
    keyName: key,
    user,
    roles,
    labels,
    ip: '',
  }
}
