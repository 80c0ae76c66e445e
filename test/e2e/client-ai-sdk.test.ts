import { createAnthropic } from '@ai-sdk/anthropic'
import { createGoogle } from '@ai-sdk/google'
import { createOpenAI } from '@ai-sdk/openai'
import { generateText, jsonSchema, type LanguageModel, streamText, tool } from 'ai'
import t from 'tap'

import { type ClientCase, promises, type Wire } from '../support/client-promises.ts'
import { ANTHROPIC, GEMINI, OPENAI_CHAT, OPENAI_RESPONSES } from '../support/wires.ts'

type Model = Exclude<LanguageModel, string>
const now = tool({
  inputSchema: jsonSchema<object>({ type: 'object', properties: {} }),
  execute: () => 'noon',
})

/** Why the last of several attempts failed, or the only one. */
function cause(error: unknown): Error & { statusCode?: number } {
  const { lastError } = error as { lastError?: Error }
  return lastError ?? (error as Error)
}

const aiSdk = (wire: Wire, modelOf: (base: string, key: string) => Model): ClientCase => ({
  wire,
  connect: (base, key, { retries }) => {
    const model = modelOf(base, key)
    const more = { model, ...(!retries && { maxRetries: 0 }) }
    return {
      say: async (prompt) => (await generateText({ ...more, prompt })).text,
      async *stream(prompt, abortSignal) {
        let failure: Error | undefined
        const { textStream } = streamText({
          ...more,
          prompt,
          abortSignal,
          onError: ({ error }) => void (failure = error as Error),
        })
        yield* textStream
        // An error is no part of the text, but told apart.
        if (failure !== undefined) throw failure
      },
      tool: async (prompt) => {
        const [called] = (await generateText({ ...more, prompt, tools: { now } })).toolCalls
        return `${called?.toolName} ${JSON.stringify(called?.input)}`
      },
    }
  },
  problem: (error) => {
    const { name, statusCode, message } = cause(error)
    return { name, message, ...(statusCode !== undefined && { status: statusCode }) }
  },
  errors: {
    failed: 'AI_APICallError',
    refused: 'AI_APICallError',
    limited: 'AI_APICallError',
  },
  waits: true,
})

const openai = (base: string, apiKey: string) => createOpenAI({ baseURL: `${base}/v1`, apiKey })

t.test('@ai-sdk/openai: responses', (t) =>
  promises(
    t,
    aiSdk(OPENAI_RESPONSES, (base, key) => openai(base, key)('gpt-4o')),
  ),
)
t.test('@ai-sdk/openai: chat completions', (t) =>
  promises(
    t,
    aiSdk(OPENAI_CHAT, (base, key) => openai(base, key).chat('gpt-4o')),
  ),
)
for (const [what, prefix] of [
  ['with /v1', '/v1'],
  ['as for the official client', ''],
]) {
  t.test(`@ai-sdk/anthropic: messages, base URL ${what}`, (t) =>
    promises(
      t,
      aiSdk(ANTHROPIC, (base, apiKey) =>
        createAnthropic({ baseURL: `${base}${prefix}`, apiKey })('claude-sonnet-4-5'),
      ),
    ),
  )
}
t.test('@ai-sdk/google: models', (t) =>
  promises(
    t,
    aiSdk(GEMINI, (base, apiKey) =>
      createGoogle({ baseURL: `${base}/v1beta`, apiKey })('gemini-2.5-flash'),
    ),
  ),
)
