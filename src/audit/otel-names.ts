/** What OpenTelemetry's conventions for generative AI call things, where Governor has another word. */

const OPERATIONS: Readonly<Record<string, string>> = {
  completions: 'text_completion',
  images: 'generate_content',
}
const PROVIDERS: Readonly<Record<string, string>> = {
  'azure-openai': 'azure.ai.openai',
  bedrock: 'aws.bedrock',
  gemini: 'gcp.gemini',
}
/** `openai.api.type`, which knows two endpoints. */
const API_TYPES: Readonly<Record<string, string>> = {
  'chat.completions': 'chat_completions',
  responses: 'responses',
}

/** `gen_ai.operation.name` of an operation. */
export function otelOperation(operation: string): string {
  return OPERATIONS[operation] ?? operation
}

/** `gen_ai.provider.name` of a dialect; undefined for none. */
export function otelProvider(dialect: string | undefined): string | undefined {
  return dialect === undefined ? undefined : (PROVIDERS[dialect] ?? dialect)
}

/** `openai.api.type` of an endpoint of OpenAI's API; undefined for all but two. */
export function openaiApiType(dialect: string | undefined, api: string): string | undefined {
  return dialect === 'openai' || dialect === 'azure-openai' ? API_TYPES[api] : undefined
}
