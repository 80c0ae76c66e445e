import type { DescribedRequest, Snapshot } from '../config/snapshot.ts'
import type { Operation, Principal, Upstream } from '../exchange.ts'
import type { PolicyCall } from './evaluate.ts'
import { compileAliases, ModelNames } from './model-names.ts'
import { compileSelectors, type SelectorTest, type Subject } from './selectors.ts'

/** Turns a described request into what policies are asked about. */

/** Chooses the upstream of a described call; null where none serves it, which a real call is told by 404. */
export type Router = (request: DescribedRequest) => Upstream | null

const NOTHING = {
  tenants: null,
  keys: null,
  users: null,
  roles: null,
  labels: null,
  operations: null,
  upstreams: null,
  input: null,
}

/** The rule of the pipeline's `route` for a call without a mount: the first upstream that serves the model. */
export function describedRouter({
  upstreams,
  aliases,
}: Pick<Snapshot, 'upstreams' | 'aliases'>): Router {
  const names = new ModelNames(compileAliases(aliases))
  const serving: (readonly [Upstream, SelectorTest])[] = upstreams.map(
    ({ name, dialect, models }) => [
      { name, dialect },
      compileSelectors({ ...NOTHING, models }, names, {
        quantifier: 'every',
        modellessPasses: true,
      }),
    ],
  )
  return (request) => {
    const subject: Subject = {
      principal: principalOf(request),
      operation: request.operation,
      models: modelsOf(request),
      upstream: null,
    }
    return serving.find(([, serves]) => serves.fails(subject) === null)?.[0] ?? null
  }
}

/** Operations that produce text, so that an output cap means something. */
export const GENERATING: ReadonlySet<Operation> = new Set(['chat', 'completions'])

/** What policies see of a described call. */
export function describedCall(request: DescribedRequest, upstream: Upstream | null): PolicyCall {
  const { operation, model, input, stream, maxOutputTokens, tools, timeMs } = request
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
      uninspectable: [],
      askUsage: null,
    },
    upstream,
    wallMs: timeMs ?? 0,
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
