import t from 'tap'

import { openai } from '../../src/dialect/openai.ts'
import type { Facts } from '../../src/exchange.ts'
import { refused } from './refused.ts'

function facts(path: string, body: object | string): Promise<Facts> {
  const found = openai.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  const { endpoint, pathModel } = found
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const route = { endpoint, dialect: openai, mount: null, path, pathModel }
  return openai.inspect(route, Buffer.from(text), { jsonDepth: 64 })
}

function refusal(path: string, body: object | string): Promise<string> {
  return refused(facts(path, body))
}

const marks = ({ uninspectable }: Facts) =>
  uninspectable.map(({ kind, pointer }) => `${kind} ${pointer}`)

const models = async (path: string, body: object) => (await facts(path, body)).models
const found = async (path: string, body: object) => marks(await facts(path, body))

t.test('every string of every body is a text, keys included', async (t) => {
  const bodies: readonly (readonly [string, object])[] = [
    ['/v1/completions', { model: 'm', prompt: ['x', 'ZEBRA'] }],
    ['/v1/moderations', { input: [{ type: 'text', text: 'ZEBRA' }] }],
    ['/v1/images/generations', { prompt: 'a', user: 'ZEBRA' }],
    ['/v1/audio/speech', { model: 'm', input: 'a', instructions: 'ZEBRA' }],
    ['/v1/rerank', { model: 'm', query: 'q', documents: [{ text: 'ZEBRA' }] }],
    ['/v1/responses/compact', { model: 'm', input: [{ role: 'user', content: 'ZEBRA' }] }],
    ['/v1/conversations', { items: [{ role: 'user', content: 'ZEBRA' }] }],
    ['/v1/threads', { messages: [{ role: 'user', content: [{ type: 'text', text: 'ZEBRA' }] }] }],
    ['/v1/threads/t/runs', { assistant_id: 'a', additional_instructions: 'ZEBRA' }],
    ['/v1/threads/runs', { thread: { messages: [{ role: 'user', content: 'ZEBRA' }] } }],
    ['/v1/threads/t/runs/r/submit_tool_outputs', { tool_outputs: [{ output: 'ZEBRA' }] }],
    ['/v1/vector_stores/v/search', { query: ['ZEBRA'] }],
    ['/v1/evals', { testing_criteria: [{ input: [{ content: 'ZEBRA' }] }] }],
    ['/v1/fine_tuning/jobs', { model: 'm', training_file: 'f', suffix: 'ZEBRA' }],
    ['/v1/assistants', { model: 'm', metadata: { ZEBRA: '1' } }],
  ]
  for (const [path, body] of bodies) {
    const { texts } = await facts(path, body)
    t.ok(texts.values.includes('ZEBRA'), path)
  }
})

t.test('every model anywhere in a body counts', async (t) => {
  const grader = { type: 'multi', graders: { a: { model: 'g2' } }, model: 'g1' }
  t.strictSame(
    await models('/v1/fine_tuning/jobs', {
      model: 'base',
      training_file: 'f',
      method: { reinforcement: { grader } },
    }),
    ['base', 'g2', 'g1'],
  )
  t.strictSame(await models('/v1/evals/e/runs', { data_source: { model: 'm', source: {} } }), ['m'])
  t.strictSame(await models('/v1/threads/t/runs', { assistant_id: 'a' }), [])
  t.equal(
    await refusal('/v1/images/generations', { prompt: 'a', Model: 'gpt-5' }),
    'FIELD_INVALID /Model',
  )
  t.equal(await refusal('/v1/completions', { prompt: 'a' }), 'MODEL_INVALID /model')
  t.equal(await refusal('/v1/audio/speech', { model: ['m'], input: 'a' }), 'MODEL_INVALID /model')
})

t.test('what is elsewhere or no text is named', async (t) => {
  t.strictSame(await found('/v1/completions', { model: 'm', prompt: [[1, 2]] }), [
    'token_ids /prompt',
  ])
  t.strictSame(await found('/v1/completions', { model: 'm', prompt: 'a', prompt_embeds: 'x' }), [
    'token_ids /prompt_embeds',
  ])
  t.strictSame(await found('/v1/batches', { endpoint: '/v1/responses', input_file_id: 'f' }), [
    'reference ',
    'reference /input_file_id',
  ])
  t.strictSame(await found('/v1/threads/t/runs', { assistant_id: 'a' }), [
    'reference ',
    'reference /assistant_id',
  ])
  t.strictSame(
    await found('/v1/threads', {
      messages: [
        {
          role: 'user',
          content: [{ type: 'image_file', image_file: { file_id: 'f' } }],
          attachments: [{ file_id: 'f', tools: [{ type: 'file_search' }] }],
        },
      ],
    }),
    [
      'image /messages/0/content/0/image_file',
      'file /messages/0/attachments',
      'hosted_tool /messages/0/attachments/0/tools/0',
    ],
  )
  t.strictSame(
    await found('/v1/images/edits', { prompt: 'a', images: [{ image_url: 'u' }], mask: {} }),
    ['image /images', 'image /mask'],
  )
  t.strictSame(
    await found('/v1/moderations', { input: [{ type: 'image_url', image_url: { url: 'u' } }] }),
    ['image /input/0/image_url'],
  )
  t.strictSame(
    await found('/v1/conversations/c/items', { items: [{ type: 'item_reference', id: 'i' }] }),
    ['reference /items/0'],
  )
})

t.test('tools are named wherever they are given', async (t) => {
  const tools = [{ type: 'function', function: { name: 'now' } }, { type: 'code_interpreter' }]
  const own = await facts('/v1/assistants', { model: 'm', tools })
  t.strictSame(own.tools, ['now', 'code_interpreter'])
  t.strictSame(marks(own), ['hosted_tool /tools/1'])
  const nested = await facts('/v1/evals/e/runs', { data_source: { sampling_params: { tools } } })
  t.strictSame(nested.tools, ['now', 'code_interpreter'])
})

t.test('a body that leaves out what is inspected is refused', async (t) => {
  t.equal(await refusal('/v1/completions', { model: 'm' }), 'FIELD_INVALID ')
  t.equal(await refusal('/v1/completions', { model: 'm', prompt: null }), 'FIELD_INVALID ')
  t.equal(await refusal('/v1/rerank', { model: 'm', query: 'q' }), 'FIELD_INVALID ')
  t.equal(await refusal('/v1/moderations', '{"input":"a","input":"b"}'), 'BODY_INVALID -')
  t.equal(
    await refusal('/v1/completions', { model: 'm', prompt: { id: 'p' } }),
    'FIELD_INVALID /prompt',
  )
})

t.test('a picture is painted on a background; any other call is answered in it', async (t) => {
  for (const path of ['/v1/images/generations', '/v1/images/edits']) {
    const painted = await facts(path, { prompt: 'a', background: 'transparent' })
    t.strictSame(painted.uninspectable, [], path)
    t.ok(painted.texts.values.includes('transparent'))
    t.equal(await refusal(path, { prompt: 'a', background: true }), 'FIELD_INVALID /background')
  }
  const later = { model: 'm', input: 'a', background: 'true' }
  t.equal(await refusal('/v1/responses/compact', later), 'FIELD_INVALID /background')
})

t.test('what another API answers at once is not taken for something stored', async (t) => {
  t.equal(await refusal('/v1/conversations', { inputs: 'a', model: 'm' }), 'FIELD_INVALID /inputs')
  t.equal(await refusal('/v1/conversations', { agent_id: 'a' }), 'FIELD_INVALID /agent_id')
  t.equal(await refusal('/v1/conversations/c', { inputs: null }), 'FIELD_INVALID /inputs')
  t.equal(await refusal('/v1/conversations/c', { metadata: { inputs: 'a' } }), 'accepted')
})

t.test('a streamed completion is asked for its usage as chat is', async (t) => {
  const { askUsage, stream } = await facts('/v1/completions', {
    model: 'm',
    prompt: 'a',
    stream: true,
  })
  t.equal(stream, true)
  t.strictSame(askUsage, { start: 1, end: 1, text: '"stream_options":{"include_usage":true},' })
  t.equal(
    (await facts('/v1/audio/speech', { model: 'm', input: 'a', stream_format: 'sse' })).stream,
    true,
  )
})
