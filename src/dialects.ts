import { anthropic } from './dialect/anthropic.ts'
import { azureOpenai } from './dialect/azure-openai.ts'
import { bedrock } from './dialect/bedrock.ts'
import { gemini } from './dialect/gemini.ts'
import { ollama } from './dialect/ollama.ts'
import { openai } from './dialect/openai.ts'

/** Every provider API, by its name in the configuration. */
export const DIALECTS = {
  openai,
  anthropic,
  'azure-openai': azureOpenai,
  gemini,
  bedrock,
  ollama,
} as const
