import { CohereClient, CohereClientV2, CohereError } from 'cohere-ai'
import t from 'tap'

import { promises } from '../support/client-promises.ts'
import { answer, FakeUpstream, stream } from '../support/fake-upstream.ts'
import { startGovernor, UPSTREAM_KEY } from '../support/start-governor.ts'
import { COHERE, cohereEvent } from '../support/wires.ts'

/** Goal: Cohere's client keeps what all clients are promised; embed and rerank work, the former API is told off. */

const MODEL = 'command-a-03-2025'
const say = (content: string) => ({ model: MODEL, messages: [{ role: 'user' as const, content }] })
const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: animals, deny: { input: { words: [zebra] } }, message: Zebras stay here }
  - { id: mask, redact: { output: { detect: [email] } } }
  - { id: codename, deny: { output: { words: [walrus] } } }`

t.test('cohere-ai: chat', (t) =>
  promises(t, {
    wire: COHERE,
    connect: (environment, token, { retries }) => {
      const client = new CohereClientV2({ token, environment })
      const options = retries ? {} : { maxRetries: 0 }
      return {
        say: async (content) => {
          const { message } = await client.chat(say(content), options)
          const [part] = message.content ?? []
          return part?.type === 'text' ? part.text : ''
        },
        async *stream(content, abortSignal) {
          for await (const event of await client.chatStream(say(content), {
            ...options,
            abortSignal,
          })) {
            yield textOf(event)
          }
        },
        tool: async (content) => {
          const parameters = { type: 'object', properties: { zone: { type: 'string' } } }
          const { message } = await client.chat(
            {
              ...say(content),
              tools: [{ type: 'function', function: { name: 'now', parameters } }],
            },
            options,
          )
          const called = message.toolCalls?.[0]?.function
          return `${called?.name} ${called?.arguments}`
        },
      }
    },
    problem: (error) => {
      const { statusCode, message, constructor } = error as CohereError
      const status = statusCode === undefined ? {} : { status: statusCode }
      return { name: constructor.name, message, ...status }
    },
    errors: {
      failed: 'BadRequestError',
      refused: 'ForbiddenError',
      limited: 'TooManyRequestsError',
    },
    waits: true,
    knowsNoErrorEvents: true,
  }),
)

const plan = (text: string) => cohereEvent('tool-plan-delta', { tool_plan: text })
const called = (type: string, args: string) =>
  cohereEvent(type, { tool_calls: { function: { name: 'f', arguments: args } } })

type Stream = Awaited<ReturnType<CohereClientV2['chatStream']>>
type StreamEvent = Stream extends AsyncIterable<infer Event> ? Event : never

/** What an application puts together of a stream, by where it was said. */
async function heardIn(stream: Stream): Promise<object> {
  const said = { text: '', plan: '', call: '' }
  for await (const event of stream) {
    said.text += textOf(event)
    if (event.type === 'tool-plan-delta') said.plan += event.delta?.message?.toolPlan
    if (event.type === 'tool-call-delta') {
      said.call += event.delta?.message?.toolCalls?.function?.arguments
    }
  }
  return said
}

/** The next piece of an answer; '' in every other event. */
function textOf(event: StreamEvent): string {
  return event.type === 'content-delta' ? (event.delta?.message?.content?.text ?? '') : ''
}

async function thrown(promise: Promise<unknown>): Promise<CohereError> {
  return promise.then(
    () => {
      throw new Error('It did not throw')
    },
    (error: unknown) => error as CohereError,
  )
}

t.test('cohere-ai: what is its own', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    usage: 'ask',
    policies: POLICIES,
    limits: '[{ id: much, per: key, tokens: 1000000/min }]',
  })
  const client = new CohereClientV2({ token: site.key, environment: site.url })
  const outcome = async () => {
    const entries = site.entries().filter(({ kind }) => kind === 'decision')
    const [, told] = await site.entriesOf(entries.at(-1)!.requestId, 2)
    return told!.body
  }

  await t.test('rerank and embed work', async (t) => {
    upstream.behaviour = answer({ id: 'r', results: [{ index: 1, relevance_score: 0.9 }] })
    const ranked = { model: 'rerank-v3.5', query: 'which?', documents: ['a', 'b'] }
    const { results } = await client.rerank(ranked)
    t.strictSame(results, [{ index: 1, relevanceScore: 0.9 }])
    t.equal(upstream.last?.path, '/v2/rerank')
    t.equal(upstream.last?.headers.authorization, `Bearer ${UPSTREAM_KEY}`)

    const embedded = { model: 'embed-v4.0', inputType: 'search_document' } as const
    const meta = { api_version: { version: '2' }, billed_units: { input_tokens: 7 } }
    for (const dimensions of [2, 60_000]) {
      const float = [Array.from({ length: dimensions }, (_, index) => index / 7)]
      upstream.behaviour = answer({ id: 'e', embeddings: { float }, texts: ['a'], meta })
      const { embeddings } = await client.embed({ ...embedded, texts: ['a'] })
      t.strictSame(embeddings.float, float)
      t.match(await outcome(), { 'gen_ai.usage.input_tokens': 7 })
    }
    const before = upstream.received.length
    const image = {
      inputs: [{ content: [{ type: 'image_url' as const, imageUrl: { url: 'x' } }] }],
    }
    for (const [call, message] of [
      [() => client.rerank({ ...ranked, query: 'a zebra' }), /Zebras stay here/],
      [() => client.embed({ ...embedded, texts: ['a', 'zebra'] }), /Zebras stay here/],
      [() => client.embed({ ...embedded, images: ['data:image/png;base64,AA'] }), /image/],
      [() => client.embed({ ...embedded, ...image }), /image/],
    ] as const) {
      const { statusCode, message: told } = await thrown(call())
      t.equal(statusCode, 403)
      t.match(told, message)
    }
    t.equal(upstream.received.length, before)
  })

  await t.test('documents, thoughts and results of tools are read', async (t) => {
    upstream.behaviour = answer(COHERE.plain)
    const told = { type: 'document' as const, document: { id: 'd', data: { title: 'A fine day' } } }
    const messages = [
      { role: 'user' as const, content: 'hi' },
      {
        role: 'assistant' as const,
        content: [{ type: 'thinking' as const, thinking: 'A horse?' }],
        toolCalls: [
          { id: 't', type: 'function' as const, function: { name: 'f', arguments: '{"a":"b"}' } },
        ],
      },
      { role: 'tool' as const, toolCallId: 't', content: [told] },
    ]
    const call = { model: MODEL, messages, documents: [{ data: { text: 'A horse' } }, 'Grass'] }
    t.equal((await client.chat(call)).finishReason, 'COMPLETE')
    t.match(await outcome(), {
      'gen_ai.usage.input_tokens': 5,
      'gen_ai.usage.output_tokens': 2,
      'gen_ai.response.id': 'c1',
    })
    const before = upstream.received.length
    const text = JSON.stringify(call)
    for (const clean of ['A fine day', 'A horse?', '\\"b\\"', 'A horse"', 'Grass']) {
      const hidden = JSON.parse(
        text.replace(clean, clean.replace(/[\w ]+/, 'zebra')),
      ) as typeof call
      t.equal((await thrown(client.chat(hidden))).statusCode, 403, clean)
    }
    t.equal(upstream.received.length, before, 'the provider heard nothing')
  })

  await t.test(
    'a streamed answer is looked at however it is cut, and is not asked for usage',
    async (t) => {
      const pieces = ['Write to ja', 'ne.doe@exa', 'mple.com', ' today']
      upstream.behaviour = stream([
        ...pieces.map((text) => cohereEvent('content-delta', { content: { text } })),
        cohereEvent('content-end', {}),
        plan('Ask jo@'),
        plan('example.org.'),
        called('tool-call-start', ''),
        called('tool-call-delta', '{"to":"jo@exam'),
        called('tool-call-delta', 'ple.org"}'),
        cohereEvent('tool-call-end', {}),
        ...COHERE.events.slice(-2),
      ])
      const said = await heardIn(await client.chatStream(say('hi')))
      t.strictSame(said, {
        text: 'Write to [EMAIL_1] today',
        plan: 'Ask [EMAIL_2].',
        call: '{"to":"[EMAIL_2]"}',
      })
      t.notMatch(upstream.last?.body.toString(), 'stream_options')
      t.match(await outcome(), { outcome: 'complete', 'gen_ai.usage.input_tokens': 5 })

      upstream.behaviour = stream([
        ...['a wal', 'rus', ' there'].map((text) =>
          cohereEvent('content-delta', { content: { text } }),
        ),
        ...COHERE.events.slice(-2),
      ])
      let heard = ''
      const broken = async () => {
        for await (const event of await client.chatStream(say('hi'))) heard += JSON.stringify(event)
      }
      t.type(await thrown(broken()), Error)
      t.notMatch(heard, /wal|rus/)
    },
  )

  await t.test('the former API is refused in words, at once', async (t) => {
    const former = new CohereClient({ token: site.key, environment: site.url })
    const before = upstream.received.length
    const refused = await thrown(former.chat({ message: 'hi' }))
    t.type(refused, CohereError)
    t.match(refused.message, /chat, embed and rerank of version 2 are supported/)
    t.equal(upstream.received.length, before)
  })
})
