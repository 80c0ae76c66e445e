import { argv, stdout } from 'node:process'

/**
 * An application that knows nothing of Governor: a client by name, set up by environment variables
 * alone. Prints what it was told as one line of JSON.
 */
const [, , name = 'openai', content = 'Say hello'] = argv
const messages = [{ role: 'user' as const, content }]

const CLIENTS: Readonly<Record<string, () => Promise<string | null | undefined>>> = {
  openai: async () => {
    const { default: OpenAI } = await import('openai')
    const call = { model: 'gpt-4o', messages }
    return (await new OpenAI().chat.completions.create(call)).choices[0]?.message.content
  },
  '@langchain/openai': async () => {
    const { ChatOpenAI } = await import('@langchain/openai')
    return (await new ChatOpenAI({ model: 'gpt-4o' }).invoke(content)).text
  },
  '@ai-sdk/openai': async () => {
    const { openai } = await import('@ai-sdk/openai')
    const { generateText } = await import('ai')
    return (await generateText({ model: openai('gpt-4o'), prompt: content })).text
  },
  '@anthropic-ai/sdk': async () => {
    const { default: Anthropic } = await import('@anthropic-ai/sdk')
    const call = { model: 'claude-sonnet-4-5', max_tokens: 100, messages }
    const [block] = (await new Anthropic().messages.create(call)).content
    return block?.type === 'text' ? block.text : null
  },
  '@ai-sdk/anthropic': async () => {
    const { anthropic } = await import('@ai-sdk/anthropic')
    const { generateText } = await import('ai')
    return (await generateText({ model: anthropic('claude-sonnet-4-5'), prompt: content })).text
  },
  '@google/genai': async () => {
    const { GoogleGenAI } = await import('@google/genai')
    const call = { model: 'gemini-2.5-flash', contents: content }
    return (await new GoogleGenAI({}).models.generateContent(call)).text
  },
}

try {
  stdout.write(JSON.stringify({ said: await CLIENTS[name]!() }))
} catch (error) {
  const { name: kind, message } = error as Error
  stdout.write(JSON.stringify({ error: (error as object).constructor.name, name: kind, message }))
}
