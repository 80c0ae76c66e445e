/** Where the parameters of generating endpoints of the OpenAI API are. */
import type { ParameterTable } from './set-members.ts'

/** Every name an output cap has somewhere: a server may heed them all. */
const CAPS = ['max_completion_tokens', 'max_tokens', 'max_output_tokens']

/** The two names of an effort: servers of several origins heed both. */
const EFFORT = 'reasoning_effort'
const EFFORT_WITHIN = 'reasoning.effort'

function cap(...names: readonly string[]) {
  return { names, others: CAPS.filter((name) => !names.includes(name)) }
}

const SAMPLING = { temperature: { names: ['temperature'] }, top_p: { names: ['top_p'] } }
const PENALTIES = {
  n: { names: ['n'] },
  presence_penalty: { names: ['presence_penalty'] },
  frequency_penalty: { names: ['frequency_penalty'] },
}
const RUN: ParameterTable = {
  ...SAMPLING,
  max_output_tokens: cap('max_completion_tokens'),
  reasoning_effort: { names: [EFFORT], others: [EFFORT_WITHIN] },
}

/** Of the settings that a realtime event brings, under `within`. */
function realtime(within: string): ParameterTable {
  const caps = ['max_output_tokens', 'max_response_output_tokens']
  return {
    temperature: { names: [`${within}.temperature`] },
    max_output_tokens: { names: caps.map((name) => `${within}.${name}`) },
  }
}

const TABLES: Readonly<Record<string, ParameterTable>> = {
  'chat.completions': {
    ...SAMPLING,
    ...PENALTIES,
    max_output_tokens: cap('max_completion_tokens', 'max_tokens'),
    reasoning_effort: { names: [EFFORT], others: [EFFORT_WITHIN] },
    service_tier: { names: ['service_tier'] },
  },
  responses: {
    ...SAMPLING,
    max_output_tokens: cap('max_output_tokens'),
    reasoning_effort: { names: [EFFORT_WITHIN], others: [EFFORT] },
    service_tier: { names: ['service_tier'] },
  },
  'cohere.chat': {
    temperature: { names: ['temperature'] },
    top_p: { names: ['p'] },
    presence_penalty: { names: ['presence_penalty'] },
    frequency_penalty: { names: ['frequency_penalty'] },
    max_output_tokens: cap('max_tokens'),
  },
  completions: { ...SAMPLING, ...PENALTIES, max_output_tokens: cap('max_tokens') },
  'realtime.response.create': realtime('response'),
  'realtime.session.update': realtime('session'),
  'threads.runs.create': RUN,
  'threads.runs.create_both': RUN,
}

const NONE: ParameterTable = {}

/** Parameters of the endpoint `api`, by their name in policies. */
export function parameters(api: string): ParameterTable {
  return TABLES[api] ?? NONE
}
