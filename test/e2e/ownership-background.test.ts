import { setImmediate } from 'node:timers/promises'

import t from 'tap'

import { answer, type Behaviour, FakeUpstream, stream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/**
 * Goal: what is answered while nobody waits is looked at, charged and recorded when it is fetched. Method:
 * a provider that answers in the background, policies about what models say, a limit on tokens.
 */

const POLICIES = `
  - { id: all, allow: {} }
  - { id: codename-in, deny: { input: { matches: 'zeus' } } }
  - id: codename-out
    for: { operations: [chat], models: ['gpt-4o*'] }
    deny: { output: { matches: 'olymp' } }`
const LIMITS = `
  - { id: tokens, per: tenant, tokens: 1000/h, reserve_output: 10 }`
const ASKED = { model: 'gpt-4o', input: 'hi', background: true }
type Tap = Parameters<typeof startGovernor>[0]

function response(id: string, text: string | null) {
  const content = [{ type: 'output_text', text }]
  return {
    id,
    object: 'response',
    model: 'gpt-4o',
    status: text === null ? 'queued' : 'completed',
    output: text === null ? [] : [{ type: 'message', id: `msg_${id}`, content }],
    usage: text === null ? null : { input_tokens: 40, output_tokens: 60, total_tokens: 100 },
  }
}

/** The output file of a batch of two. */
function said(text: string): string {
  const out = { id: 'a', response: { status_code: 200, body: response('resp_9', text) } }
  return `${JSON.stringify(out)}\n${JSON.stringify(out)}\n`
}

async function start(t: Tap) {
  const upstream = await FakeUpstream.start(t, answer(response('resp_1', null)))
  const sections = { policies: POLICIES, limits: LIMITS, ownership: 'embedded' }
  const site = await startGovernor(t, { upstream: upstream.url, ...sections })
  return { upstream, site }
}

t.test('a background response is charged once and recorded with its origin', async (t) => {
  const { upstream, site } = await start(t)
  const made = await site.send({ path: '/v1/responses', body: ASKED })
  t.equal(made.status, 200, 'it is looked at when it is fetched, and so it may be made')
  const fetch = async () => {
    const fetched = await site.send({ method: 'GET', path: '/v1/responses/resp_1' })
    const id = String(fetched.headers['x-governor-request-id'])
    const [decision, outcome] = await site.entriesOf(id, 2)
    t.equal(decision!.body['origin'], made.headers['x-governor-request-id'])
    return { fetched, outcome: outcome!.body }
  }
  const early = await fetch()
  t.equal(early.fetched.status, 200)
  t.equal(early.outcome['gen_ai.usage.output_tokens'], undefined)
  t.equal(early.outcome['limits'], undefined, 'nothing is charged while there is nothing')
  upstream.behaviour = answer(response('resp_1', 'Hello'))
  const first = await fetch()
  t.match(first.outcome, {
    'gen_ai.usage.input_tokens': 40,
    'gen_ai.usage.output_tokens': 60,
    limits: { charged: [{ id: 'tokens', what: 'tokens', amount: 60 }] },
  })
  const again = await fetch()
  t.equal(again.fetched.status, 200)
  t.equal(again.outcome['gen_ai.usage.output_tokens'], undefined, 'once')
  t.equal(again.outcome['limits'], undefined)
})

t.test('policies on what a model says hold for what is fetched, whole and streamed', async (t) => {
  const { upstream, site } = await start(t)
  await site.send({ path: '/v1/responses', body: ASKED })
  upstream.behaviour = answer(response('resp_1', 'on olymp'))
  const whole = await site.send({ method: 'GET', path: '/v1/responses/resp_1' })
  t.equal(whole.status, 403)
  t.equal(whole.headers['x-governor-code'], 'POLICY_DENIED')
  const pieces = ['on ol', 'ymp, they say']
  const events = [
    ...pieces.map((delta) => ({ type: 'response.output_text.delta', output_index: 0, delta })),
    { type: 'response.completed', response: response('resp_1', pieces.join('')) },
  ].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  upstream.behaviour = stream(events)
  const path = '/v1/responses/resp_1?stream=true&starting_after=1'
  const resumed = await site.send({ method: 'GET', path })
  t.notMatch(resumed.text, /olymp|ymp, they/)
  t.match(resumed.text, /event: error/)
  upstream.behaviour = stream(events.slice(-1).map((event) => event.replace(/on olymp[^"]*/, 'ok')))
  const passed = await site.send({ method: 'GET', path })
  t.match(passed.text, /"ok"/)
})

t.test(
  'the output of a batch is its tenant’s, looked at line by line and charged once',
  async (t) => {
    const { upstream, site } = await start(t)
    const other = await site.createKey('other', [], 'globex')
    const line = { custom_id: 'a', method: 'POST', url: '/v1/responses' }
    const form =
      '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' +
      '--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' +
      `${JSON.stringify({ ...line, body: { model: 'gpt-4o', input: 'hi' } })}\r\n--b--\r\n`
    upstream.behaviour = answer({ id: 'file-in', object: 'file' })
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    t.equal((await site.send({ path: '/v1/files', body: form, headers })).status, 200)
    const batch = {
      id: 'batch_1',
      object: 'batch',
      status: 'completed',
      output_file_id: 'file-out',
    }
    upstream.behaviour = answer({ ...batch, output_file_id: null })
    const body = { input_file_id: 'file-in', endpoint: '/v1/responses', completion_window: '24h' }
    const made = await site.send({ path: '/v1/batches', body })
    t.equal(made.status, 200, 'its file was looked at when it came')
    const content = '/v1/files/file-out/content'
    t.equal((await site.send({ method: 'GET', path: content })).status, 404, 'not known yet')
    upstream.behaviour = answer(batch)
    t.equal((await site.send({ method: 'GET', path: '/v1/batches/batch_1' })).status, 200)
    const octets = { headers: { 'content-type': 'application/octet-stream' } }
    upstream.behaviour = answer(said('see ol\u0079mp').replaceAll('olymp', 'ol\\u0079mp'), octets)
    const refused = await site.send({ method: 'GET', path: content })
    t.equal(refused.status, 403)
    t.notMatch(refused.text, /resp_9/)
    upstream.behaviour = answer(said('fine'), octets)
    t.equal((await site.send({ method: 'GET', path: content, key: other })).status, 404)
    const fetched = await site.send({ method: 'GET', path: content })
    t.equal(fetched.text, said('fine'), 'byte for byte')
    const id = String(fetched.headers['x-governor-request-id'])
    const [decision, outcome] = await site.entriesOf(id, 2)
    t.equal(decision!.body['origin'], made.headers['x-governor-request-id'])
    t.match(outcome!.body, { limits: { charged: [{ id: 'tokens', amount: 200 }] } })
    const again = await site.send({ method: 'GET', path: content })
    const more = await site.entriesOf(String(again.headers['x-governor-request-id']), 2)
    t.equal(more[1]!.body['limits'], undefined)
    upstream.behaviour = answer(response('resp_9', 'fine'))
    const named = { method: 'GET', path: '/v1/responses/resp_9' }
    t.equal((await site.send(named)).status, 200, 'a response of a line is its tenant’s')
    t.equal((await site.send({ ...named, key: other })).status, 404)
    upstream.behaviour = answer(said('fine').replaceAll('resp_9', 'resp_7'), octets)
    const uploaded = await site.send({ method: 'GET', path: '/v1/files/file-in/content' })
    t.match(uploaded.text, /resp_7/)
    const planted = await site.send({ method: 'GET', path: '/v1/responses/resp_7' })
    t.equal(planted.status, 404, 'what its tenant wrote into a file says nothing')
  },
)

/** In two pieces, cut where `at` stands. */
function cut(text: string, at: string): Behaviour {
  return async (_, response) => {
    response.writeHead(200, { 'content-type': 'application/x-jsonl' })
    response.write(text.slice(0, text.indexOf(at)))
    await setImmediate()
    response.end(text.slice(text.indexOf(at)))
  }
}

t.test('what the results of a batch name is its tenant’s before they pass', async (t) => {
  const upstream = await FakeUpstream.start(t, answer({ id: 'msgbatch_1', type: 'message_batch' }))
  const sections = { dialect: 'anthropic', policies: '[{ id: all, allow: {} }]' }
  const site = await startGovernor(t, {
    upstream: upstream.url,
    ...sections,
    ownership: 'embedded',
  })
  const other = await site.createKey('other', [], 'globex')
  const headers = { 'anthropic-version': '2023-06-01' }
  const messages = [{ role: 'user', content: 'plot it' }]
  const params = { model: 'claude-sonnet-4-5', max_tokens: 9, messages }
  const body = { requests: [{ custom_id: 'a', params }] }
  const made = await site.send({ path: '/v1/messages/batches', body, headers })
  t.equal(made.status, 200)
  const lines = Array.from({ length: 3000 }, (_, index) => {
    const container = { id: `container_${index}` }
    const message = { id: `msg_${index}`, content: [], container, usage: { input_tokens: 1 } }
    return `${JSON.stringify({ custom_id: 'a', result: { type: 'succeeded', message } })}\n`
  })
  upstream.behaviour = cut(lines.join(''), 'tainer_1500')
  const results = { method: 'GET', path: '/v1/messages/batches/msgbatch_1/results', headers }
  t.equal((await site.send({ ...results, key: other })).status, 404)
  t.equal((await site.send(results)).text, lines.join(''), 'byte for byte')
  upstream.behaviour = answer({ id: 'msg_x', type: 'message', content: [] })
  for (const container of ['container_0', 'container_1499', 'container_1500', 'container_2999']) {
    const asks = (key: string) =>
      site.send({ path: '/v1/messages', body: { ...params, container }, headers, key })
    t.equal((await asks(site.key)).status, 200)
    t.equal((await asks(other)).status, 404, container)
  }
})

t.test('a fine-tuned model is its tenant’s once its job has been read', async (t) => {
  const job = { id: 'ftjob-1', object: 'fine_tuning.job', fine_tuned_model: null }
  const upstream = await FakeUpstream.start(t, answer(job))
  const policies = '[{ id: all, allow: {} }]'
  const site = await startGovernor(t, { upstream: upstream.url, policies, ownership: 'embedded' })
  const other = await site.createKey('other', [], 'globex')
  const body = { model: 'gpt-4o-mini', training_file: 'file-shared' }
  t.equal((await site.send({ path: '/v1/fine_tuning/jobs', body })).status, 200)
  const model = 'ft:gpt-4o-mini:Acme::Abc123'
  const spellings = [model, model.toUpperCase(), `${model}:ckpt-step-88`, `openai/${model}`]
  upstream.behaviour = answer({ ...job, fine_tuned_model: model })
  const read = { method: 'GET', path: '/v1/fine_tuning/jobs/ftjob-1' }
  t.equal((await site.send({ ...read, key: other })).status, 404)
  t.equal((await site.send(read)).json['fine_tuned_model'], model)
  const everybodys = 'ft:gpt-4o-mini:Acme::shared'
  upstream.behaviour = answer({ data: [{ id: 'gpt-4o' }, { id: model }, { id: everybodys }] })
  const listed = async (key: string) => {
    const { json } = await site.send({ method: 'GET', path: '/v1/models', key })
    return (json['data'] as { id: string }[]).map(({ id }) => id)
  }
  t.strictSame(await listed(site.key), ['gpt-4o', model, everybodys])
  t.strictSame(await listed(other), ['gpt-4o', everybodys])
  upstream.behaviour = answer({ id: 'a', output: [] })
  const asks = (key: string, more: object) => {
    const asked = { model: 'gpt-4o', input: 'hi', store: false, ...more }
    return site.send({ path: '/v1/responses', body: asked, key })
  }
  for (const spelling of spellings) {
    t.equal((await asks(site.key, { model: spelling })).status, 200, spelling)
    const refused = await asks(other, { model: spelling })
    t.match([refused.status, refused.headers['x-governor-code']], [404, 'STORED_UNKNOWN'], spelling)
  }
  t.equal((await asks(other, { model: everybodys })).status, 200, 'nobody made it here')
  for (const method of ['GET', 'DELETE']) {
    const sent = { method, path: `/v1/models/${encodeURIComponent(model)}`, key: other }
    t.equal((await site.send(sent)).status, 404, method)
  }
  const again = { ...body, model }
  const sent = { path: '/v1/fine_tuning/jobs', body: again, key: other }
  t.equal((await site.send(sent)).status, 404, 'nor can it be gone on from')
})
