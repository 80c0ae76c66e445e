/** Top-level fields of each endpoint (OpenAI's published specification, 2026-08 and SDK of 2026-11). */

const COMMON = ['model', 'user', 'models']

const GENERATION = [
  ...COMMON,
  'metadata',
  'moderation',
  'parallel_tool_calls',
  'prompt_cache_key',
  'prompt_cache_retention',
  'safety_identifier',
  'service_tier',
  'store',
  'stream',
  'stream_options',
  'temperature',
  'tool_choice',
  'tools',
  'top_logprobs',
  'top_p',
  // Not fields of both endpoints, but inspected on both: a server may merge its request types.
  'background',
  'conversation',
  'input',
  'input_ids',
  'instructions',
  'max_completion_tokens',
  'max_output_tokens',
  'max_tokens',
  'messages',
  'n',
  'prediction',
  'previous_response_id',
  'prompt',
  'prompt_token_ids',
  'web_search_options',
]

/** Known fields by `api`. */
export const TOP_FIELDS: Readonly<Record<string, ReadonlySet<string>>> = {
  'chat.completions': new Set([
    ...GENERATION,
    'audio',
    'frequency_penalty',
    'function_call',
    'functions',
    'logit_bias',
    'logprobs',
    'modalities',
    'presence_penalty',
    'reasoning_effort',
    'response_format',
    'seed',
    'stop',
    'verbosity',
  ]),
  responses: new Set([
    ...GENERATION,
    'context_management',
    'include',
    'max_tool_calls',
    'reasoning',
    'text',
    'truncation',
    // Of the event that asks for a response in a session.
    'generate',
    'stream_id',
    'type',
  ]),
  // `documents` are prompt and stand in no list, as elsewhere.
  'cohere.chat': new Set([
    ...GENERATION,
    'citation_options',
    'frequency_penalty',
    'k',
    'logprobs',
    'p',
    'presence_penalty',
    'priority',
    'response_format',
    'safety_mode',
    'seed',
    'stop_sequences',
    'strict_tools',
    'thinking',
  ]),
  embeddings: new Set([...COMMON, 'dimensions', 'encoding_format', 'input', 'stream']),
}

/** Fields of `stream_options`. */
export const STREAM_OPTIONS_FIELDS: ReadonlySet<string> = new Set([
  'include_usage',
  'include_obfuscation',
])
