import type { PolicyConfig, Selectors } from '../src/config/snapshot.ts'
import { compilePolicies, type CompiledPolicies } from '../src/policy/compile.ts'
import type { PolicyCall } from '../src/policy/evaluate.ts'
import { NO_SELECTORS } from '../src/policy/selectors.ts'

/** Policies as a company has them: patterns of names and numbers, words, models, detectors. */

const DEFAULTS = {
  decision: 'deny',
  onError: 'deny',
  unknownOperation: 'deny',
  uninspectable: 'deny',
  mode: 'enforce',
} as const

const LETTERS = 'BCDEFGHIJKLMNOPQRSTUVWXYZ'

/** Two of eight have no fixed word that could be looked for first, which is the dear kind. */
const SHAPES: readonly ((index: number) => string)[] = [
  (index) => `(?i)project[- ]name${index}`,
  (index) => `\\b[A-${LETTERS[index % LETTERS.length]}]{2}\\d{6}\\b`,
  (index) => `(?i)internal (only|use) ${index}`,
  (index) => `\\bEMP${index}-\\d{6}\\b`,
  (index) => `(?i)\\bcodename[: ]+x${index}\\b`,
  (index) => `\\b\\d{3}-\\d{2}-\\d{4}\\b|[0-${index % 10}]{12}`,
  (index) => `(?i)(secret|private|confidential)[ -]*(data|file|memo) ${index}`,
  (index) => `[a-z0-9._%+-]+@corp${index}\\.example`,
]

/** Pattern `index` of those the policies share. */
export function patternOf(index: number): string {
  return SHAPES[index % SHAPES.length]!(index)
}

export interface PolicySet {
  readonly policies: number
  readonly patterns: number
  readonly detect: readonly string[]
}

function policy(id: string, verb: 'allow' | 'deny', own: Partial<Selectors>): PolicyConfig {
  const selectors = { ...NO_SELECTORS, ...own }
  return { id, mode: 'enforce', message: null, for: null, verb, selectors }
}

const NO_INPUT = { matches: null, words: null, charsMax: null, tokensMax: null, detect: null }

/** One allow and policies that share the patterns, each tenth with words, one with detectors. */
export function compileSet({ policies, patterns, detect }: PolicySet): CompiledPolicies {
  const configs = [policy('open', 'allow', {})]
  if (detect.length > 0) configs.push(policy('pii', 'deny', { input: { ...NO_INPUT, detect } }))
  for (let i = configs.length; i < policies; i++) {
    const words = i % 10 === 0 ? [`secretword${i}`, `forbidden${i}`] : null
    const matches = words === null && patterns > 0 ? patternOf(i % patterns) : null
    const models = matches === null && words === null ? [`model-${i}*`] : null
    const input = models === null ? { ...NO_INPUT, words, matches } : null
    configs.push(policy(`p${i}`, 'deny', { input, models }))
  }
  return compilePolicies({ policies: configs, defaults: DEFAULTS, aliases: {}, detectors: [] })
}

const PRINCIPAL: PolicyCall['principal'] = {
  via: 'key',
  tenant: 'acme',
  keyId: 'k',
  keyName: 'bench',
  user: '',
  roles: ['developer'],
  labels: {},
  ip: '127.0.0.1',
}

/** A chat call with one text. */
export function callWith(text: string): PolicyCall {
  return {
    principal: PRINCIPAL,
    route: {
      endpoint: {
        operation: 'chat',
        api: 'chat.completions',
        body: 'json',
        query: [],
        generates: true,
      },
      pathModel: null,
    },
    facts: {
      model: 'gpt-4o',
      models: ['gpt-4o'],
      stream: false,
      maxOutputTokens: null,
      tools: [],
      texts: {
        values: ['model', 'gpt-4o', 'messages', 'role', 'user', 'content', text],
        pointer: () => '',
      },
      inputChars: text.length,
      uninspectable: [],
      askUsage: null,
    },
    upstream: { name: 'up', dialect: 'openai' },
    wallMs: 0,
  }
}
