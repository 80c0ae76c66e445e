import { ChatOpenAI } from '@langchain/openai'
import t from 'tap'

import { type ClientCase, promises } from '../support/client-promises.ts'
import { OPENAI_CHAT, OPENAI_RESPONSES } from '../support/wires.ts'

const now = {
  type: 'function',
  function: { name: 'now', parameters: { type: 'object', properties: {} } },
}

/** LangChain calls the official client, with retries of its own on top. */
const langchain = (useResponsesApi: boolean): ClientCase => ({
  wire: useResponsesApi ? OPENAI_RESPONSES : OPENAI_CHAT,
  connect: (base, apiKey, { retries }) => {
    const model = new ChatOpenAI({
      model: 'gpt-4o',
      apiKey,
      useResponsesApi,
      configuration: { baseURL: `${base}/v1` },
      ...(!retries && { maxRetries: 0 }),
    })
    return {
      say: async (content) => (await model.invoke(content)).text,
      async *stream(content, signal) {
        for await (const { text } of await model.stream(content, { signal })) yield text
      },
      tool: async (content) => {
        const [called] = (await model.bindTools([now]).invoke(content)).tool_calls ?? []
        return `${called?.name} ${JSON.stringify(called?.args)}`
      },
    }
  },
  problem: (error) => {
    const { status, message } = error as Error & { status?: number }
    return {
      name: (error as object).constructor.name,
      message,
      ...(status !== undefined && { status }),
    }
  },
  errors: {
    failed: 'BadRequestError',
    refused: 'PermissionDeniedError',
    limited: 'RateLimitError',
  },
  waits: true,
})

t.test('@langchain/openai: chat completions', (t) => promises(t, langchain(false)))
t.test('@langchain/openai: responses', (t) => promises(t, langchain(true)))
