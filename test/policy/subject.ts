import type {
  ExceptionConfig,
  PolicyConfig,
  Selectors,
  Snapshot,
} from '../../src/config/snapshot.ts'
import type { Facts, Operation, Principal } from '../../src/exchange.ts'
import { type CompiledPolicies, compilePolicies } from '../../src/policy/compile.ts'
import type { PolicyCall } from '../../src/policy/evaluate.ts'

/** Makes what policies are asked about, from the few fields a test cares for. */

export interface DescribedCall {
  readonly tenant?: string
  readonly user?: string
  readonly key?: string
  readonly roles?: readonly string[]
  readonly labels?: Readonly<Record<string, string>>
  readonly operation?: Operation
  readonly model?: string | null
  readonly models?: readonly string[]
  readonly path_model?: string
  readonly upstream?: string | null
  readonly input?: string | readonly string[]
  readonly input_chars?: number
  readonly uninspectable?: Facts['uninspectable']
  readonly stream?: boolean
  readonly max_output_tokens?: number
  readonly tools?: readonly string[]
  /** ISO 8601; 1970 when absent. */
  readonly time?: string
}

export function principalOf(described: DescribedCall): Principal {
  return {
    via: described.key === '' ? 'pod' : 'key',
    tenant: described.tenant ?? 'acme',
    keyId: described.key ?? '6f1c2d1e',
    keyName: described.key === '' ? '' : 'ci',
    user: described.user ?? 'ada',
    roles: described.roles ?? ['developer'],
    labels: described.labels ?? {},
    ip: '192.0.2.1',
  }
}

export function callOf(described: DescribedCall): PolicyCall {
  const { operation = 'chat', path_model: pathModel = null, upstream = 'openai' } = described
  return {
    principal: principalOf(described),
    route: {
      endpoint: { operation, api: 'chat.completions', body: 'json', query: [], generates: true },
      pathModel,
    },
    facts: factsOf(described),
    upstream: upstream === null ? null : { name: upstream, dialect: 'openai' },
    wallMs: described.time === undefined ? 0 : Date.parse(described.time),
  }
}

function factsOf(described: DescribedCall): Facts {
  const { model = 'gpt-4o', input = 'hello', uninspectable = [] } = described
  const models = described.models ?? (model === null ? [] : [model])
  const values = typeof input === 'string' ? [input] : input
  return {
    model: models[0] ?? '',
    models,
    stream: described.stream ?? false,
    maxOutputTokens: described.max_output_tokens ?? null,
    tools: described.tools ?? [],
    texts: { values, pointer: (index) => `/input/${index}` },
    inputChars: described.input_chars ?? values.join('').length,
    uninspectable,
    askUsage: null,
  }
}

export type Loose = Partial<Omit<Selectors, 'input'>> & {
  readonly input?: {
    readonly matches?: string
    readonly words?: readonly string[]
    readonly max_chars?: number
    readonly max_tokens?: number
    readonly detect?: readonly string[]
  }
}

export function selectorsOf({ input, ...fields }: Loose): Selectors {
  return {
    tenants: null,
    keys: null,
    users: null,
    roles: null,
    labels: null,
    operations: null,
    models: null,
    upstreams: null,
    uninspectable: null,
    when: null,
    ...fields,
    input:
      input === undefined
        ? null
        : {
            matches: input.matches ?? null,
            words: input.words ?? null,
            charsMax: input.max_chars ?? null,
            tokensMax: input.max_tokens ?? null,
            detect: input.detect ?? null,
          },
  }
}

export interface LoosePolicy {
  readonly id: string
  readonly mode?: PolicyConfig['mode']
  readonly message?: string
  readonly for?: Loose
  readonly allow?: Loose
  readonly deny?: Loose
  readonly require?: Loose | string
  readonly redact?: Loose
}

export function policyOf(loose: LoosePolicy): PolicyConfig {
  const verb = (['allow', 'deny', 'require', 'redact'] as const).find(
    (each) => loose[each] !== undefined,
  )
  if (verb === undefined) throw new Error(`Policy "${loose.id}" has no verb`)
  return {
    id: loose.id,
    mode: loose.mode ?? 'enforce',
    message: loose.message ?? null,
    for: loose.for === undefined ? null : selectorsOf(loose.for),
    verb,
    selectors: selectorsOf(ownOf(loose[verb] ?? {})),
  }
}

export interface LooseException {
  readonly id: string
  readonly policy: string
  readonly for?: Loose
  /** ISO 8601. */
  readonly expires: string
}

export function exceptionOf(loose: LooseException): ExceptionConfig {
  const { id, policy, for: narrowed, expires } = loose
  return {
    id,
    policy,
    for: narrowed === undefined ? null : selectorsOf(narrowed),
    reason: 'DPIA-31',
    approvedBy: 'dpo',
    expiresMs: Date.parse(expires),
  }
}

function ownOf(own: Loose | string): Loose {
  return typeof own === 'string' ? { when: own } : own
}

export const SAFE: Snapshot['defaults'] = {
  decision: 'deny',
  onError: 'deny',
  unknownOperation: 'deny',
  uninspectable: 'deny',
  mode: 'enforce',
}

/** What a file says beside its policies, where a test cares. */
export interface LooseFile {
  readonly defaults?: Partial<Snapshot['defaults']>
  readonly aliases?: Readonly<Record<string, string>>
  readonly exceptions?: readonly LooseException[]
}

export function compile(policies: readonly LoosePolicy[], file: LooseFile = {}): CompiledPolicies {
  return compilePolicies({
    policies: policies.map(policyOf),
    defaults: { ...SAFE, ...file.defaults },
    aliases: file.aliases ?? {},
    exceptions: (file.exceptions ?? []).map(exceptionOf),
  })
}
