import type { LLM, ToolCallLLMMessageOptions } from '@llamaindex/core/llms'
import { OpenAI, OpenAIResponses } from '@llamaindex/openai'
import t from 'tap'

import { type ClientCase, promises } from '../support/client-promises.ts'
import { OPENAI_CHAT, OPENAI_RESPONSES } from '../support/wires.ts'

const now = {
  metadata: {
    name: 'now',
    description: 'The time',
    parameters: { type: 'object', properties: {}, required: [] },
  },
  call: () => 'noon',
} as const
const said = (content: string) => ({ messages: [{ role: 'user' as const, content }] })

/** Events of the Responses API as they came: the piece is repeated with those that bring none. */
function pieceOf({ delta, raw }: { delta: string; raw: unknown }): string {
  const event = raw as { readonly type?: string; readonly message?: string }
  if (event.type === 'error') throw new Error(event.message)
  return event.type === undefined || event.type === 'response.output_text.delta' ? delta : ''
}

/** LlamaIndex.TS calls a copy of the official client that it brings with it. */
const llamaindex = (usesResponses: boolean): ClientCase => ({
  wire: usesResponses ? OPENAI_RESPONSES : OPENAI_CHAT,
  connect: (base, apiKey, { retries }) => {
    let leaving: AbortSignal | undefined
    const given = {
      model: 'gpt-4o',
      apiKey,
      baseURL: `${base}/v1`,
      ...(!retries && { maxRetries: 0 }),
      // A stream takes no signal, and goes on when nobody reads it.
      additionalSessionOptions: {
        fetch: (url: string | URL | Request, init: RequestInit = {}) => {
          const signals = [init.signal, leaving].filter((each) => each instanceof AbortSignal)
          return fetch(url, { ...init, signal: AbortSignal.any(signals) })
        },
      },
    } as const
    const model: LLM<object, ToolCallLLMMessageOptions> = usesResponses
      ? new OpenAIResponses(given)
      : new OpenAI(given)
    return {
      say: async (content) => {
        const { message } = await model.chat(said(content))
        return typeof message.content === 'string'
          ? message.content
          : message.content.map((part) => (part.type === 'text' ? part.text : '')).join('')
      },
      async *stream(content, signal) {
        leaving = signal
        const chunks = await model.chat({ ...said(content), stream: true })
        for await (const chunk of chunks) yield pieceOf(chunk)
      },
      tool: async (content) => {
        const { message } = await model.chat({ ...said(content), tools: [now] })
        const { options = {} } = message
        const called = 'toolCall' in options ? options.toolCall[0] : undefined
        return `${called?.name} ${typeof called?.input === 'string' ? called.input : ''}`
      },
    }
  },
  problem: (error) => {
    const { status, message } = error as Error & { status: number }
    return { name: (error as object).constructor.name, status, message }
  },
  errors: {
    failed: 'BadRequestError',
    refused: 'PermissionDeniedError',
    limited: 'RateLimitError',
  },
  waits: true,
})

t.test('@llamaindex/openai: chat completions', (t) => promises(t, llamaindex(false)))
t.test('@llamaindex/openai: responses', (t) => promises(t, llamaindex(true)))
