import {
  BedrockRuntimeClient,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  type Tool,
} from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import t from 'tap'

import { promises } from '../support/client-promises.ts'
import { answer, FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'
import { BEDROCK } from '../support/wires.ts'

/** Goal: the client of Bedrock keeps what all clients are promised; what is its own is in `bedrock.test.ts`. */

const now: Tool = { toolSpec: { name: 'now', inputSchema: { json: { type: 'object' } } } }
const say = (text: string) => ({
  modelId: 'anthropic.claude-3-haiku-20240307-v1:0',
  messages: [{ role: 'user' as const, content: [{ text }] }],
})

t.test('@aws-sdk/client-bedrock-runtime: converse', (t) =>
  promises(t, {
    wire: BEDROCK,
    connect: (endpoint, token, { retries }) => {
      const client = new BedrockRuntimeClient({
        region: 'eu-central-1',
        endpoint,
        // What AWS_BEARER_TOKEN_BEDROCK sets.
        token: { token },
        authSchemePreference: ['httpBearerAuth'],
        requestHandler: new NodeHttpHandler(),
        ...(!retries && { maxAttempts: 1 }),
      })
      return {
        say: async (content) => {
          const { output } = await client.send(new ConverseCommand(say(content)))
          return output?.message?.content?.[0]?.text ?? ''
        },
        async *stream(content, abortSignal) {
          const call = new ConverseStreamCommand(say(content))
          const { stream = [] } = await client.send(call, { abortSignal })
          for await (const { contentBlockDelta } of stream) {
            yield contentBlockDelta?.delta?.text ?? ''
          }
        },
        tool: async (content) => {
          const toolConfig = { tools: [now] }
          const call = new ConverseCommand({ ...say(content), toolConfig })
          const called = (await client.send(call)).output?.message?.content?.[0]?.toolUse
          return `${called?.name} ${JSON.stringify(called?.input)}`
        },
      }
    },
    problem: (error) => {
      const { name, message, $metadata } = error as BedrockRuntimeServiceException
      const status = $metadata?.httpStatusCode
      return { name, message, ...(status !== undefined && { status }) }
    },
    errors: {
      failed: 'ValidationException',
      refused: 'AccessDeniedException',
      limited: 'ThrottlingException',
    },
    waits: false,
  }),
)

t.test(
  '@aws-sdk/client-bedrock-runtime: a body of no type is JSON, and goes on as that',
  async (t) => {
    const upstream = await FakeUpstream.start(t, answer({ embedding: [1] }))
    const policies = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: animals, deny: { input: { words: [zebra] } } }`
    const site = await startGovernor(t, { upstream: upstream.url, dialect: 'bedrock', policies })
    const client = new BedrockRuntimeClient({
      region: 'us-east-1',
      endpoint: site.url,
      token: { token: site.key },
      authSchemePreference: ['httpBearerAuth'],
      requestHandler: new NodeHttpHandler(),
    })
    const invoke = (inputText: string) =>
      client.send(
        new InvokeModelCommand({
          modelId: 'amazon.titan-embed-text-v2:0',
          body: JSON.stringify({ inputText }),
        }),
      )
    t.equal((await invoke('hi')).body.transformToString(), '{"embedding":[1]}')
    t.equal(upstream.last?.headers['content-type'], 'application/json')
    await t.rejects(invoke('a zebra'), { name: 'AccessDeniedException' })
    t.equal(upstream.received.length, 1)
  },
)

t.test('@aws-sdk/client-bedrock-runtime, without an upstream of Bedrock', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  // Its own handler speaks HTTP/2, which a plain-text proxy does not.
  const client = new BedrockRuntimeClient({
    region: 'us-east-1',
    endpoint: site.url,
    credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'example' },
    requestHandler: new NodeHttpHandler(),
  })
  const call = new ConverseCommand({
    modelId: 'anthropic.claude-3-haiku-20240307-v1:0',
    messages: [{ role: 'user', content: [{ text: 'hi' }] }],
  })
  const error = await client.send(call).then(
    () => {
      throw new Error('It did not throw')
    },
    (failure: unknown) => failure as BedrockRuntimeServiceException,
  )
  t.equal(error.$metadata.httpStatusCode, 404)
  t.equal(error.$metadata.attempts, 1, 'not tried again')
  t.match(JSON.stringify(error), 'it needs an upstream of dialect bedrock')
  t.equal(upstream.received.length, 0)
})
