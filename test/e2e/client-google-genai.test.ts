import { type ApiError, GoogleGenAI } from '@google/genai'
import t from 'tap'

import { promises } from '../support/client-promises.ts'
import { GEMINI } from '../support/wires.ts'

const now = { name: 'now', parametersJsonSchema: { type: 'object' } }
const call = (contents: string) => ({ model: 'gemini-2.5-flash', contents })

t.test('@google/genai: models', (t) =>
  promises(t, {
    wire: GEMINI,
    connect: (baseUrl, apiKey) => {
      const client = new GoogleGenAI({ apiKey, httpOptions: { baseUrl } })
      return {
        say: async (content) => (await client.models.generateContent(call(content))).text ?? '',
        async *stream(content, abortSignal) {
          const chunks = await client.models.generateContentStream({
            ...call(content),
            config: { abortSignal },
          })
          for await (const { text } of chunks) yield text ?? ''
        },
        tool: async (content) => {
          const { functionCalls } = await client.models.generateContent({
            ...call(content),
            config: { tools: [{ functionDeclarations: [now] }] },
          })
          const called = functionCalls?.[0]
          return `${called?.name} ${JSON.stringify(called?.args)}`
        },
      }
    },
    problem: (error) => {
      const { name, status, message } = error as ApiError
      return { name, status, message }
    },
    errors: { failed: 'ApiError', refused: 'ApiError', limited: 'ApiError' },
    waits: false,
  }),
)
