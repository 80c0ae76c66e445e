import { Mistral } from '@mistralai/mistralai'
import t from 'tap'

import { promises } from '../support/client-promises.ts'
import { OPENAI_CHAT } from '../support/wires.ts'

const tools = [{ type: 'function' as const, function: { name: 'now', parameters: {} } }]
const call = (content: string) => ({
  model: 'mistral-small-latest',
  messages: [{ role: 'user' as const, content }],
})
/** Content is a text or parts of one, and the arguments of a call a text or an object. */
const textOf = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))

t.test('@mistralai/mistralai: chat', (t) =>
  promises(t, {
    wire: OPENAI_CHAT,
    connect: (serverURL, apiKey) => {
      const client = new Mistral({ serverURL, apiKey })
      return {
        say: async (content) => {
          const { choices } = await client.chat.complete(call(content))
          return textOf(choices[0]?.message?.content)
        },
        async *stream(content, signal) {
          const events = await client.chat.stream(call(content), { fetchOptions: { signal } })
          for await (const { data } of events) yield textOf(data.choices[0]?.delta.content)
        },
        tool: async (content) => {
          const { choices } = await client.chat.complete({ ...call(content), tools })
          const called = choices[0]?.message?.toolCalls?.[0]?.function
          return `${called?.name} ${textOf(called?.arguments)}`
        },
      }
    },
    problem: (error) => {
      const { name, statusCode, message } = error as Error & { statusCode: number }
      return { name, status: statusCode, message }
    },
    errors: { failed: 'SDKError', refused: 'SDKError', limited: 'SDKError' },
    waits: false,
    knowsNoErrorEvents: true,
  }),
)
