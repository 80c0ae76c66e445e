/** Where the parameters of Bedrock's models are, in conversations and in the models' own forms. */
import type { ParameterNames } from '../exchange.ts'
import type { ParameterTable } from './set-members.ts'

/** Output caps at the top of the models' own forms. */
export const CAPS = [
  'max_tokens',
  'max_completion_tokens',
  'max_tokens_to_sample',
  'max_gen_len',
  'max_new_tokens',
  'maxTokens',
] as const
/** Members that hold one. */
export const CONFIGS = [
  ['inferenceConfig', 'maxTokens'],
  ['inferenceConfig', 'max_new_tokens'],
  ['textGenerationConfig', 'maxTokenCount'],
] as const
/** What a conversation hands on to its model as it is, in that model's own form. */
export const HANDED_ON = 'additionalModelRequestFields'

const HOLDERS = ['inferenceConfig', 'textGenerationConfig'] as const
const OWN_CAPS = [...CAPS, ...CONFIGS.map((path) => path.join('.'))]
const OWN_TEMPERATURES = ['temperature', ...HOLDERS.map((holder) => `${holder}.temperature`)]
const OWN_TOP_PS = [
  'top_p',
  'topP',
  'p',
  ...HOLDERS.flatMap((holder) => [`${holder}.topP`, `${holder}.top_p`]),
]

function within(name: string, own: readonly string[]): ParameterNames {
  const others = own.map((each) => `${HANDED_ON}.${each}`)
  return { names: [`inferenceConfig.${name}`], others }
}

const CONVERSE: ParameterTable = {
  max_output_tokens: within('maxTokens', OWN_CAPS),
  temperature: within('temperature', OWN_TEMPERATURES),
  top_p: within('topP', OWN_TOP_PS),
}
/** What was sent is clamped; where nothing was, nobody here knows what this model would call it. */
const INVOKE: ParameterTable = {
  max_output_tokens: { names: [], others: OWN_CAPS },
  temperature: { names: [], others: OWN_TEMPERATURES },
  top_p: { names: [], others: OWN_TOP_PS },
}
const NONE: ParameterTable = {}

/** Parameters of the endpoint `api`, by their name in policies. */
export function parameters(api: string): ParameterTable {
  if (api.startsWith('converse')) return CONVERSE
  return api.startsWith('invoke') ? INVOKE : NONE
}
