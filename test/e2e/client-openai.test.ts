import OpenAI from 'openai'
import t from 'tap'

import { type ClientCase, promises } from '../support/client-promises.ts'
import { OPENAI_CHAT, OPENAI_RESPONSES } from '../support/wires.ts'

const parameters = { type: 'object', properties: { zone: { type: 'string' } } }
const call = (content: string) => ({
  model: 'gpt-4o',
  messages: [{ role: 'user' as const, content }],
})
const respond = (input: string) => ({ model: 'gpt-4o', input })

function open(base: string, key: string, retries: boolean): OpenAI {
  const more = retries ? {} : { maxRetries: 0 }
  return new OpenAI({ baseURL: `${base}/v1`, apiKey: key, ...more })
}

const COMMON = {
  problem: (error: unknown) => {
    const { status, message } = error as InstanceType<typeof OpenAI.APIError>
    return { name: (error as object).constructor.name, status: Number(status), message }
  },
  errors: {
    failed: 'BadRequestError',
    refused: 'PermissionDeniedError',
    limited: 'RateLimitError',
  },
  waits: true,
}

const chat: ClientCase = {
  ...COMMON,
  wire: OPENAI_CHAT,
  connect: (base, key, { retries }) => {
    const client = open(base, key, retries)
    return {
      say: async (content) => {
        const { choices } = await client.chat.completions.create(call(content))
        return choices[0]?.message.content ?? ''
      },
      async *stream(content, signal) {
        const events = await client.chat.completions.create(
          { ...call(content), stream: true },
          { signal },
        )
        for await (const { choices } of events) yield choices[0]?.delta.content ?? ''
      },
      tool: async (content) => {
        const { choices } = await client.chat.completions.create({
          ...call(content),
          tools: [{ type: 'function', function: { name: 'now', parameters } }],
        })
        const called = choices[0]?.message.tool_calls?.[0]
        return called?.type === 'function'
          ? `${called.function.name} ${called.function.arguments}`
          : ''
      },
    }
  },
}

const responses: ClientCase = {
  ...COMMON,
  wire: OPENAI_RESPONSES,
  connect: (base, key, { retries }) => {
    const client = open(base, key, retries)
    return {
      say: async (content) => (await client.responses.create(respond(content))).output_text,
      async *stream(content, signal) {
        const events = await client.responses.create(
          { ...respond(content), stream: true },
          { signal },
        )
        for await (const event of events) {
          if (event.type === 'response.output_text.delta') yield event.delta
        }
      },
      tool: async (content) => {
        const { output } = await client.responses.create({
          ...respond(content),
          tools: [{ type: 'function', name: 'now', parameters, strict: false }],
        })
        const [called] = output
        return called?.type === 'function_call' ? `${called.name} ${called.arguments}` : ''
      },
    }
  },
}

t.test('openai: chat completions', (t) => promises(t, chat))
t.test('openai: responses', (t) => promises(t, responses))
