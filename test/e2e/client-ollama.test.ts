import { Ollama } from 'ollama'
import t from 'tap'

import { promises } from '../support/client-promises.ts'
import { OLLAMA } from '../support/wires.ts'

const now = { name: 'now', description: 'the time', parameters: { type: 'object', properties: {} } }
const call = (content: string) => ({ model: 'llama3.2', messages: [{ role: 'user', content }] })

t.test('ollama: chat', (t) =>
  promises(t, {
    wire: OLLAMA,
    connect: (host, key) => {
      const client = new Ollama({ host, headers: { authorization: `Bearer ${key}` } })
      return {
        say: async (content) => (await client.chat(call(content))).message.content,
        async *stream(content, signal) {
          const lines = await client.chat({ ...call(content), stream: true })
          signal.addEventListener('abort', () => lines.abort())
          for await (const { message } of lines) yield message.content
        },
        tool: async (content) => {
          const tools = [{ type: 'function', function: now }]
          const { message } = await client.chat({ ...call(content), tools })
          const called = message.tool_calls?.[0]?.function
          return `${called?.name} ${JSON.stringify(called?.arguments)}`
        },
      }
    },
    problem: (error) => {
      const { name, status_code: status, message } = error as Error & { status_code: number }
      return { name, status, message }
    },
    errors: { failed: 'ResponseError', refused: 'ResponseError', limited: 'ResponseError' },
    waits: false,
  }),
)
