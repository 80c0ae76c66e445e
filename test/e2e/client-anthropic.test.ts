import Anthropic from '@anthropic-ai/sdk'
import t from 'tap'

import { promises } from '../support/client-promises.ts'
import { ANTHROPIC } from '../support/wires.ts'

const now = { name: 'now', input_schema: { type: 'object' as const } }
const call = (content: string) => ({
  model: 'claude-sonnet-4-5',
  max_tokens: 100,
  messages: [{ role: 'user' as const, content }],
})

t.test('@anthropic-ai/sdk: messages', (t) =>
  promises(t, {
    wire: ANTHROPIC,
    connect: (baseURL, apiKey, { retries }) => {
      const client = new Anthropic({ baseURL, apiKey, ...(!retries && { maxRetries: 0 }) })
      return {
        say: async (content) => {
          const [block] = (await client.messages.create(call(content))).content
          return block?.type === 'text' ? block.text : ''
        },
        async *stream(content, signal) {
          const events = await client.messages.create(
            { ...call(content), stream: true },
            { signal },
          )
          for await (const event of events) {
            if (event.type !== 'content_block_delta') continue
            if (event.delta.type === 'text_delta') yield event.delta.text
          }
        },
        tool: async (content) => {
          const [block] = (await client.messages.create({ ...call(content), tools: [now] })).content
          return block?.type === 'tool_use' ? `${block.name} ${JSON.stringify(block.input)}` : ''
        },
      }
    },
    problem: (error) => {
      const { status, message } = error as InstanceType<typeof Anthropic.APIError>
      return { name: (error as object).constructor.name, status: Number(status), message }
    },
    errors: {
      failed: 'BadRequestError',
      refused: 'PermissionDeniedError',
      limited: 'RateLimitError',
    },
    waits: true,
  }),
)
