import t from 'tap'

import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: a parameter leaves as policies set it, and everything else leaves as it came. */

const POLICIES = `
  - { id: open, allow: {} }
  - { id: cap, set: { max_output_tokens: { default: 4096, at_most: 8192 } } }
  - { id: lower, for: { labels: { tier: none } }, set: { max_output_tokens: { at_most: 1 } } }
  - { id: calm, for: { models: [gpt-4o] }, set: { temperature: { at_most: 0.5, at_least: 0.1 } } }
  - { id: thrifty, for: { models: [o3] }, set: { max_output_tokens: { at_most: 500, default: 400 }, n: 1, reasoning_effort: { default: low }, service_tier: flex } }
  - { id: nested, for: { models: ['nested-*'] }, set: { max_output_tokens: { default: 9 }, temperature: { default: 0.5, at_most: 1 }, top_p: { default: 0.9 } } }
  - { id: someday, mode: shadow, set: { temperature: 0 } }
  - { id: pii, redact: { input: { detect: [email] } } }`

const MESSAGES = '"messages":[{"role":"user","content":"hi"}]'

/** What was sent, what went on, and what the entry names; the same text twice is no change. */
const ROWS: readonly (readonly [path: string, sent: string, forwarded: string, ids: string])[] = [
  [
    'chat/completions',
    `{"model":"gpt-4o-mini",${MESSAGES}}`,
    `{"max_completion_tokens":4096,"model":"gpt-4o-mini",${MESSAGES}}`,
    'cap someday',
  ],
  [
    'chat/completions',
    `{"model":"gpt-4o-mini",${MESSAGES}, "max_tokens" : 100000 , "temperature":0}`,
    `{"model":"gpt-4o-mini",${MESSAGES}, "max_tokens" : 8192 , "temperature":0}`,
    'cap',
  ],
  [
    'chat/completions',
    `{"model":"gpt-4o-mini",${MESSAGES},"max_completion_tokens":null,"max_output_tokens":9000}`,
    `{"model":"gpt-4o-mini",${MESSAGES},"max_completion_tokens":4096,"max_output_tokens":8192}`,
    'cap someday',
  ],
  [
    'chat/completions',
    `{"model":"gpt-4o",${MESSAGES},"max_tokens":10,"temperature":1e400}`,
    `{"model":"gpt-4o",${MESSAGES},"max_tokens":10,"temperature":0.5}`,
    'calm someday',
  ],
  [
    'chat/completions',
    `{"model":"gpt-4o",${MESSAGES},"max_tokens":10,"temperature":"2"}`,
    `{"model":"gpt-4o",${MESSAGES},"max_tokens":10,"temperature":0.5}`,
    'calm someday',
  ],
  [
    'chat/completions',
    `{"model":"gpt-4o",${MESSAGES},"max_tokens":10,"temperature":0.30}`,
    `{"model":"gpt-4o",${MESSAGES},"max_tokens":10,"temperature":0.30}`,
    'someday',
  ],
  [
    'responses',
    '{"model":"o3","input":"hi","reasoning":{"summary":"auto"},"max_output_tokens":501}',
    '{"service_tier":"flex","model":"o3","input":"hi","reasoning":{"effort":"low","summary":"auto"},"max_output_tokens":500}',
    'thrifty someday',
  ],
  [
    'responses',
    '{"model":"o3","input":"hi","reasoning":null,"service_tier":"auto"}',
    '{"max_output_tokens":400,"model":"o3","input":"hi","reasoning":{"effort":"low"},"service_tier":"flex"}',
    'cap thrifty someday',
  ],
  [
    'chat/completions',
    `{"model":"o3","reasoning_effort":"high",${MESSAGES},"n":3}`,
    `{"max_completion_tokens":400,"service_tier":"flex","model":"o3","reasoning_effort":"high",${MESSAGES},"n":1}`,
    'cap thrifty someday',
  ],
  [
    'embeddings',
    '{"model":"text-embedding-3-small","input":"hi"}',
    '{"model":"text-embedding-3-small","input":"hi"}',
    '',
  ],
]

const upstream = await FakeUpstream.start(t)
const site = await startGovernor(t, {
  upstream: upstream.url,
  upstreams: ['gemini', 'bedrock', 'ollama'].map((dialect) => {
    return `{ name: ${dialect}, dialect: ${dialect}, url: '${upstream.url}', credential: '\${UPSTREAM_KEY}' }`
  }),
  policies: POLICIES,
})

t.test('parameters are put and clamped under the name the endpoint has for them', async (t) => {
  for (const [path, sent, forwarded, ids] of ROWS) {
    const answer = await site.send({ path: `/v1/${path}`, body: sent })
    t.equal(answer.status, 200, answer.text)
    t.equal(upstream.last?.body.toString(), forwarded)
    const changed = sent === forwarded ? undefined : 'set'
    t.equal(answer.headers['x-governor-changed'], changed, sent)
    const [decision] = await site.entriesOf(String(answer.headers['x-governor-request-id']), 2)
    const policies = decision?.body['policies'] as readonly { id: string; result: string }[]
    const set = policies.filter(({ result }) => result === 'set').map(({ id }) => id)
    t.equal(set.join(' '), ids, 'the entry names the policies that would change this call')
  }
})

const bedrock = await FakeUpstream.start(t)
const models = await startGovernor(t, {
  upstream: bedrock.url,
  dialect: 'bedrock',
  policies: `
  - { id: open, allow: {} }
  - { id: cap, set: { max_output_tokens: { default: 4096, at_most: 8192 }, top_p: { at_most: 0.5 } } }`,
})

/** An invocation is in the model's own words: what it says is clamped, and nothing is put. */
const INVOKED: readonly (readonly [path: string, sent: string, forwarded: string])[] = [
  [
    'invoke',
    `{"anthropic_version":"x","max_tokens":9000,"top_p":0.9,${MESSAGES}}`,
    `{"anthropic_version":"x","max_tokens":8192,"top_p":0.5,${MESSAGES}}`,
  ],
  [
    'invoke-with-response-stream',
    '{"inputText":"hi","textGenerationConfig":{"maxTokenCount": 9000,"topP":1}}',
    '{"inputText":"hi","textGenerationConfig":{"maxTokenCount": 8192,"topP":0.5}}',
  ],
  ['invoke', '{"prompt":"hi","max_gen_len":8193}', '{"prompt":"hi","max_gen_len":8192}'],
  ['invoke', '{"prompt":"hi"}', '{"prompt":"hi"}'],
  [
    'converse',
    '{"messages":[{"role":"user","content":[{"text":"hi"}]}],"additionalModelRequestFields":{"max_tokens":9000}}',
    '{"inferenceConfig":{"maxTokens":4096},"messages":[{"role":"user","content":[{"text":"hi"}]}],"additionalModelRequestFields":{"max_tokens":8192}}',
  ],
]

t.test('models of Bedrock are not asked for more in words of their own', async (t) => {
  for (const [path, sent, forwarded] of INVOKED) {
    const answer = await models.send({ path: `/model/anthropic.claude-x/${path}`, body: sent })
    t.equal(answer.status, 200, answer.text)
    t.equal(bedrock.last?.body.toString(), forwarded)
  }
})

t.test('set and redact change one call together', async (t) => {
  const body = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"a@b.org"}]}'
  const answer = await site.send({ body })
  t.equal(answer.headers['x-governor-changed'], 'redacted, set')
  t.equal(
    upstream.last?.body.toString(),
    '{"max_completion_tokens":4096,"model":"gpt-4o-mini","messages":[{"role":"user","content":"[EMAIL_1]"}]}',
  )
  t.equal(upstream.last?.headers['content-length'], String(upstream.last?.body.length))
})

t.test('policies decide on what was sent, whatever is set', async (t) => {
  const policies = `
  - { id: open, allow: {} }
  - { id: no-novels, require: 'request.max_output_tokens <= 9000' }
  - { id: cap, set: { max_output_tokens: { default: 100, at_most: 100 } } }`
  const other = await startGovernor(t, { upstream: upstream.url, policies })
  const call = (more: string) => other.send({ body: `{"model":"gpt-4o",${MESSAGES}${more}}` })
  t.equal((await call('')).status, 403)
  t.equal((await call(',"max_tokens":9001')).status, 403)
  t.equal((await call(',"max_tokens":9000')).status, 200)
  t.match(upstream.last?.body.toString(), '"max_tokens":100}')
})

const GEMINI = 'gemini/v1beta/models/nested-1:generateContent'
const CONTENTS = '"contents":[{"parts":[{"text":"hi"}]}]'
const BEDROCK = 'bedrock/model/nested-1/converse'
const TURN = '"messages":[{"role":"user","content":[{"text":"hi"}]}]'
const OLLAMA = 'ollama/api/generate'
const ASK = '"model":"nested-1","prompt":"hi","stream":false'

/** What was sent to which path, and what went on. */
const NESTED: readonly (readonly [path: string, sent: string, forwarded: string])[] = [
  [
    GEMINI,
    `{${CONTENTS}}`,
    `{"generationConfig":{"maxOutputTokens":9,"temperature":0.5,"topP":0.9},${CONTENTS}}`,
  ],
  [
    GEMINI,
    `{${CONTENTS},"generation_config":{"top_p":1}}`,
    `{${CONTENTS},"generation_config":{"maxOutputTokens":9,"temperature":0.5,"top_p":1}}`,
  ],
  [
    GEMINI,
    `{"generationConfig":{"max_output_tokens":null,"temperature":3},${CONTENTS}}`,
    `{"generationConfig":{"topP":0.9,"max_output_tokens":9,"temperature":1},${CONTENTS}}`,
  ],
  [
    GEMINI,
    `{${CONTENTS},"generation_config":null}`,
    `{${CONTENTS},"generation_config":{"maxOutputTokens":9,"temperature":0.5,"topP":0.9}}`,
  ],
  [
    BEDROCK,
    `{${TURN}}`,
    `{"inferenceConfig":{"maxTokens":9,"temperature":0.5,"topP":0.9},${TURN}}`,
  ],
  [
    BEDROCK,
    `{${TURN},"inferenceConfig":null}`,
    `{${TURN},"inferenceConfig":{"maxTokens":9,"temperature":0.5,"topP":0.9}}`,
  ],
  [
    OLLAMA,
    `{${ASK},"options":{}}`,
    `{${ASK},"options":{"num_predict":9,"temperature":0.5,"top_p":0.9}}`,
  ],
  [OLLAMA, `{${ASK}}`, `{"options":{"num_predict":9,"temperature":0.5,"top_p":0.9},${ASK}}`],
]

t.test('several parameters of one object are put into one, under the name it has', async (t) => {
  for (const [path, sent, forwarded] of NESTED) {
    const answer = await site.send({ path: `/${path}`, body: sent })
    t.equal(answer.status, 200, answer.text)
    t.equal(upstream.last?.body.toString(), forwarded)
  }
})

t.test(
  'what should hold parameters and is no object is refused, not sent on without them',
  async (t) => {
    const before = upstream.received.length
    for (const wrong of ['[]', '"x"', '3', 'true']) {
      const gemini = await site.send({
        path: `/${GEMINI}`,
        body: `{${CONTENTS},"generationConfig":${wrong}}`,
      })
      const bedrock = await site.send({
        path: `/${BEDROCK}`,
        body: `{${TURN},"inferenceConfig":${wrong}}`,
      })
      t.strictSame([gemini.status, bedrock.status], [400, 400], wrong)
      t.match(gemini.text, '/generationConfig must be an object or null')
      t.match(bedrock.text, '/inferenceConfig must be an object or null')
    }
    t.equal(upstream.received.length, before)
  },
)

const strict = await startGovernor(t, {
  upstream: upstream.url,
  upstreams: ['gemini', 'bedrock', 'ollama', 'anthropic'].map((dialect) => {
    return `{ name: ${dialect}, dialect: ${dialect}, url: '${upstream.url}', credential: '\${UPSTREAM_KEY}' }`
  }),
  policies: `
  - { id: open, allow: {} }
  - { id: effort, set: { reasoning_effort: low, temperature: { at_most: 1 }, max_output_tokens: { at_most: 100 } } }`,
})

const INPUT = '"model":"o3","input":"hi"'

/** A body, and what is said of the one member a server could read past the edit. */
const PAST: readonly (readonly [path: string, sent: string, said: string])[] = [
  ...['"x"', '[]', '[{"effort":"high"}]', '3', 'false', '""'].map((wrong) => {
    const sent = `{${INPUT},"reasoning":${wrong}}`
    return ['v1/responses', sent, '/reasoning must be an object or null'] as const
  }),
  ['v1/responses', `{${INPUT},"Reasoning":{"effort":"high"}}`, '/Reasoning must be spelled reason'],
  [
    'v1/responses',
    `{${INPUT},"reasoning":{"EFFORT":"high"}}`,
    '/reasoning/EFFORT must be spelled effort',
  ],
  [
    'v1/responses',
    `{${INPUT},"rea\\u017foning":{"effort":"high"}}`,
    '/rea\u017foning must be spelled reasoning',
  ],
  [
    'v1/chat/completions',
    `{"model":"o3",${MESSAGES},"reasoning":"high"}`,
    '/reasoning must be an object or null',
  ],
  [
    'v1/chat/completions',
    `{"model":"o3",${MESSAGES},"Temperature":2}`,
    '/Temperature must be spelled temperature',
  ],
  [
    BEDROCK,
    `{${TURN},"additionalModelRequestFields":"x"}`,
    '/additionalModelRequestFields must be an object or null',
  ],
  [
    BEDROCK,
    `{${TURN},"inferenceConfig":{"MaxTokens":9000}}`,
    '/inferenceConfig/MaxTokens must be spelled maxTokens',
  ],
  [
    'gemini/v1beta/models/x:generateContent',
    `{${CONTENTS},"generationConfig":{"Temperature":2}}`,
    '/generationConfig/Temperature must be spelled temperature',
  ],
  [OLLAMA, `{${ASK},"options":"x"}`, '/options must be an object or null'],
  [OLLAMA, `{${ASK},"options":{"Num_Predict":9000}}`, 'must be spelled num_predict'],
  [
    'anthropic/v1/messages',
    `{"model":"claude-x","MAX_TOKENS":9000,"max_tokens":1,${MESSAGES}}`,
    'a key that repeats another',
  ],
]

t.test('nothing passes a set in the place of an object, or under another case', async (t) => {
  const before = upstream.received.length
  for (const [path, sent, said] of PAST) {
    const answer = await strict.send({ path: `/${path}`, body: sent })
    t.equal(answer.status, 400, `${sent} ${answer.text}`)
    t.ok(answer.text.includes(said), `${sent}: ${answer.text}`)
  }
  t.equal(upstream.received.length, before)
})

t.test('an effort is put over both names that servers have for it', async (t) => {
  const body = `{"model":"o3",${MESSAGES},"reasoning":{"effort":"high"}}`
  t.equal((await strict.send({ body })).status, 200)
  t.equal(
    upstream.last?.body.toString(),
    `{"reasoning_effort":"low","model":"o3",${MESSAGES},"reasoning":{"effort":"low"}}`,
  )
  const responses = `{${INPUT},"reasoning_effort":"high"}`
  t.equal((await strict.send({ path: '/v1/responses', body: responses })).status, 200)
  t.equal(
    upstream.last?.body.toString(),
    '{"reasoning":{"effort":"low"},"model":"o3","input":"hi","reasoning_effort":"low"}',
  )
})

t.test('a call that no set is about, or one in shadow, goes on as it was sent', async (t) => {
  const other = await startGovernor(t, {
    upstream: upstream.url,
    policies: `
  - { id: open, allow: {} }
  - { id: cool, set: { temperature: 0 } }
  - { id: someday, mode: shadow, set: { reasoning_effort: low } }`,
  })
  const sent = `{"temperature":0,${INPUT},"reasoning":"x","Reasoning_Effort":"high"}`
  const answer = await other.send({ path: '/v1/responses', body: sent })
  t.equal(answer.status, 200, answer.text)
  t.equal(upstream.last?.body.toString(), sent)
  const [decision] = await other.entriesOf(String(answer.headers['x-governor-request-id']), 2)
  const policies = decision?.body['policies'] as readonly { id: string; result: string }[]
  const set = policies.filter(({ result }) => result === 'set').map(({ id }) => id)
  t.strictSame(set, ['someday'], 'the entry says that it would not be as it was')
})
