import { argv, stdout } from 'node:process'

import OpenAI from 'openai'

/**
 * An application that knows nothing of Governor: the official client, set up by OPENAI_BASE_URL and
 * OPENAI_API_KEY alone. Prints what it was told as one line of JSON.
 */
const client = new OpenAI()
const model = argv[2] ?? 'gpt-4o'
try {
  const answer = await client.chat.completions.create({
    model,
    messages: [{ role: 'user', content: 'Say hello' }],
  })
  stdout.write(JSON.stringify({ said: answer.choices[0]?.message.content }))
} catch (error) {
  const { name, message } = error as Error
  stdout.write(JSON.stringify({ error: (error as object).constructor.name, name, message }))
}
