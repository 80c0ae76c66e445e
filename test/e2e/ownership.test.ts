import { join } from 'node:path'

import t from 'tap'

import { migrate } from '../../src/audit/migrate.ts'
import { openPool } from '../../src/audit/postgres.ts'
import { EmbeddedOwners } from '../../src/owner/embedded.ts'
import { PostgresOwners } from '../../src/owner/postgres.ts'
import { chat } from '../support/client.ts'
import { FakeAccount } from '../support/fake-account.ts'
import { FakeRealtime, RealtimeClient } from '../support/fake-realtime.ts'
import { answer, FakeUpstream, stream } from '../support/fake-upstream.ts'
import { freshDatabase, runSql, startPostgres } from '../support/postgres.ts'
import { configText, InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: what a tenant keeps at a provider is its own, although all of them share the provider's account.
 * Method: an account that shows everything to everybody, and two tenants with keys.
 */

const POLICIES = `
  - { id: all, allow: {} }
  - { id: codename, deny: { input: { matches: 'zeus' } } }`

async function start(t: Tap, ownership = 'embedded') {
  const account = new FakeAccount()
  const upstream = await FakeUpstream.start(t, account.behaviour)
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES, ownership })
  const other = await site.createKey('other', [], 'globex')
  return { account, upstream, site, other }
}
type Tap = Parameters<typeof startGovernor>[0]

t.test('a response is read and deleted by its own tenant alone', async (t) => {
  const { upstream, site, other } = await start(t)
  const made = await site.send({ path: '/v1/responses', body: { model: 'gpt-4o', input: 'hi' } })
  t.equal(made.status, 200)
  const path = `/v1/responses/${String(made.json['id'])}`
  const before = upstream.received.length
  const answers = []
  for (const name of [path, `${path}x`]) {
    for (const method of ['GET', 'DELETE']) {
      answers.push(await site.send({ method, path: name, key: other }))
    }
  }
  for (const { status, headers, json } of answers) {
    t.equal(status, 404)
    t.equal(headers['x-governor-code'], 'STORED_UNKNOWN')
    t.strictSame(json, answers[0]!.json, 'nobody learns whether it is there')
  }
  t.equal(upstream.received.length, before, 'the provider was not asked')
  const own = await site.send({ method: 'GET', path })
  t.equal(own.status, 200)
  t.equal(await site.metric('governor_ownership_records'), 1)
  t.equal(await site.metric('governor_ownership_lookups_total', 'result="hit"'), 3)
  t.equal(await site.metric('governor_ownership_lookups_total', 'result="miss"'), 2)
  const id = String(own.headers['x-governor-request-id'])
  const [entry] = await site.entriesOf(id, 2)
  t.equal(entry!.body['origin'], made.headers['x-governor-request-id'])
  const { behaviour } = upstream
  upstream.behaviour = answer({ id: made.json['id'], deleted: false })
  t.equal((await site.send({ method: 'DELETE', path })).status, 200)
  upstream.behaviour = behaviour
  t.equal((await site.send({ method: 'GET', path })).status, 200, 'what was kept is still its own')
  t.equal((await site.send({ method: 'DELETE', path })).status, 200)
  t.equal((await site.send({ method: 'GET', path })).status, 404, 'and then it is nobody’s')
})

t.test('a reference to an own thing counts as inspected; to another’s it is 404', async (t) => {
  const { site, other, upstream } = await start(t)
  const made = await site.send({ path: '/v1/responses', body: { model: 'gpt-4o', input: 'hi' } })
  const body = { model: 'gpt-4o', input: 'go on', previous_response_id: made.json['id'] }
  t.equal((await site.send({ path: '/v1/responses', body })).status, 200)
  const before = upstream.received.length
  const others = await site.send({ path: '/v1/responses', body, key: other })
  const nobodys = await site.send({
    path: '/v1/responses',
    body: { ...body, previous_response_id: 'resp_nobody' },
    key: other,
  })
  t.equal(others.status, 403, 'a policy on texts refuses what it cannot read')
  t.strictSame(others.json, nobodys.json, 'whoever has it')
  t.equal(upstream.received.length, before)
})

t.test(
  'an item of another tenant cannot be handed in by its id, whatever it says it is',
  async (t) => {
    const account = new FakeAccount()
    const upstream = await FakeUpstream.start(t, account.behaviour)
    const policies = '[{ id: all, allow: {} }]'
    const site = await startGovernor(t, { upstream: upstream.url, policies, ownership: 'embedded' })
    const other = await site.createKey('other', [], 'globex')
    const output = ['ig_1', 'rs_1', 'msg_1', 'ws_1'].map((id) => ({ id, type: 'message' }))
    upstream.behaviour = answer({ id: 'resp_1', status: 'completed', output })
    const path = '/v1/responses'
    t.equal((await site.send({ path, body: { model: 'gpt-4o', input: 'hi' } })).status, 200)
    const items = [
      { id: 'msg_1' },
      { id: 'msg_1', type: null },
      { type: 'image_generation_call', id: 'ig_1' },
      { type: 'image_generation_call', id: 'ig_1', result: 'AAAA' },
      { type: 'reasoning', id: 'rs_1', summary: [] },
      { type: 'web_search_call', id: 'ws_1', status: 'completed' },
      { type: 'message', role: 'assistant', id: 'msg_1', content: 'so' },
    ]
    const ask = (item: object, key: string) => {
      const input = [{ role: 'user', content: 'tell me' }, item]
      return site.send({ path, key, body: { model: 'gpt-4o', store: false, input } })
    }
    for (const item of items) {
      const refused = await ask(item, other)
      t.strictSame(
        [refused.status, refused.json.error?.['param']],
        [404, '/input/1/id'],
        JSON.stringify(item),
      )
      t.equal((await ask(item, site.key)).status, 200, 'to its own tenant it is open')
      const nobodys = await ask({ ...item, id: 'xx_nobody' }, other)
      t.equal(nobodys.status, 200, 'what nobody keeps here is the client’s own')
    }
  },
)

t.test('an id that can be none is refused, and wedges nothing', async (t) => {
  const url = await freshDatabase(t)
  const upstream = await FakeUpstream.start(t, new FakeAccount().behaviour)
  const ownership = '{ store: postgres, postgres_file: url }'
  const sections = { upstream: upstream.url, policies: '[{ id: all, allow: {} }]', ownership }
  const site = new InProcess(t.testdir({ url }), configText(sections))
  const migrated = await site.cli('migrate')
  t.match(migrated, { code: 0, stdout: /went from schema 0/ }, 'the file names one database')
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const ask = (previous_response_id: string) =>
    site.send({
      path: '/v1/responses',
      body: { model: 'gpt-4o', input: 'hi', previous_response_id },
    })
  for (const id of ['\0', 'resp_\0', '../resp', 'x'.repeat(5000), '\u202e', "'; --"]) {
    const { status, headers } = await ask(id)
    t.strictSame([status, headers['x-governor-code']], [404, 'STORED_UNKNOWN'], JSON.stringify(id))
  }
  t.equal((await ask('resp_nobody')).status, 200, 'the store is asked as before')
})

t.test('what nobody knows cannot be asked about a thing of another tenant', async (t) => {
  const account = new FakeAccount()
  const upstream = await FakeUpstream.start(t, account.behaviour)
  const defaults = '{ unknown_operation: allow }'
  const policies = '[{ id: all, allow: {} }, { id: unknown, allow: { operations: [other] } }]'
  const parts = { upstream: upstream.url, policies, defaults, ownership: 'embedded' }
  const site = await startGovernor(t, parts)
  const other = await site.createKey('other', [], 'globex')
  const made = await site.send({ path: '/v1/vector_stores', body: { name: 'mine' } })
  t.equal(made.status, 200)
  upstream.behaviour = answer({ secret: 'of acme' })
  const path = `/v1/vector_stores/${String(made.json['id'])}/brand-new`
  for (const [method, body] of [['GET'], ['DELETE'], ['POST', '{}']] as const) {
    const call = { method, path, ...(body !== undefined && { body }) }
    const refused = await site.send({ ...call, key: other })
    t.equal(refused.status, 404, `${method} of another`)
    t.equal(refused.headers['x-governor-code'], 'STORED_UNKNOWN')
    t.equal((await site.send(call)).status, 200, `${method} of one's own`)
  }
})

t.test('a list shows what is the tenant’s own, page after page', async (t) => {
  const { account, upstream, site, other } = await start(t)
  const own: unknown[] = []
  for (let count = 0; count < 3; count++) {
    for (let more = 0; more < 25; more++) account.make('/v1/vector_stores')
    const made = await site.send({ path: '/v1/vector_stores', body: { name: 'mine' } })
    own.push(made.json['id'])
  }
  const seen: unknown[] = []
  for (let after = ''; ;) {
    const query = after === '' ? '' : `&after=${after}`
    const page = await site.send({ method: 'GET', path: `/v1/vector_stores?limit=10${query}` })
    t.equal(page.status, 200)
    t.match(page.headers, { 'x-governor-changed': 'stored' })
    const data = page.json['data'] as { id: string }[]
    seen.push(...data.map(({ id }) => id))
    t.equal(page.json['first_id'], data[0]?.id ?? null)
    t.equal(page.json['last_id'], data.at(-1)?.id ?? null)
    if (page.json['has_more'] !== true) break
    after = data.at(-1)!.id
  }
  t.strictSame(seen, own)
  const empty = await site.send({ method: 'GET', path: '/v1/vector_stores', key: other })
  t.match(empty.json, { data: [], has_more: false, first_id: null, last_id: null })
  const others = [{ id: own[0] }]
  upstream.behaviour = answer({ object: 'list', data: [], groups: [{ name: 'a' }], others })
  const beside = await site.send({ method: 'GET', path: '/v1/vector_stores', key: other })
  t.equal(beside.status, 502, 'nobody looks at whose a second list is')
  t.notOk(beside.text.includes(String(own[0])))
})

t.test('an id of a stream is written down before the client sees it', async (t) => {
  const { site, other, upstream } = await start(t)
  const stages = ['created', 'in_progress', 'completed']
  const events = stages.map((stage) => {
    const response = { id: 'resp_streamed', status: stage, output: [{ id: 'msg_1', content: [] }] }
    return `data: ${JSON.stringify({ type: `response.${stage}`, response })}\n\n`
  })
  upstream.behaviour = stream(events)
  const body = { model: 'gpt-4o', input: 'hi', stream: true }
  const streamed = await site.send({ path: '/v1/responses', body })
  t.equal(streamed.text, events.join(''), 'byte for byte')
  const path = '/v1/responses/resp_streamed'
  upstream.behaviour = answer({ id: 'resp_streamed' })
  t.equal((await site.send({ method: 'GET', path })).status, 200)
  t.equal((await site.send({ method: 'GET', path, key: other })).status, 404)
  upstream.behaviour = stream(events)
  const headers = { 'idempotency-key': 'once' }
  const repeated = await site.send({ path: '/v1/responses', body, headers, key: other })
  t.equal(repeated.status, 502, 'an answer that a provider repeats for another tenant')
  t.notOk(repeated.text.includes('resp_streamed'))
  // Some servers answer a call for a stream with all of it at once.
  const types = ['application/json', 'application/json; charset=utf-8', 'text/event-stream', '']
  for (const [index, type] of types.entries()) {
    const id = `resp_whole_${index}`
    upstream.behaviour = (_received, response) => {
      response.writeHead(200, type === '' ? {} : { 'content-type': type })
      response.write(`{"id":"${id}",`)
      response.end('"status":"completed"}')
    }
    t.ok((await site.send({ path: '/v1/responses', body })).text.includes(id), type)
    upstream.behaviour = answer({ id })
    const fetched = { method: 'GET', path: `/v1/responses/${id}` }
    t.equal((await site.send(fetched)).status, 200, type)
    t.equal((await site.send({ ...fetched, key: other })).status, 404, type)
  }
})

t.test('what a session answers is its tenant’s before the client hears of it', async (t) => {
  const upstream = await FakeRealtime.start(t, { greets: false })
  const policies = '[{ id: all, allow: {} }]'
  const site = await startGovernor(t, { upstream: upstream.url, policies, ownership: 'embedded' })
  const other = await site.createKey('other', [], 'globex')
  const knows = async (key: string, id: string) => {
    const { headers } = await site.send({ method: 'GET', path: `/v1/responses/${id}`, key })
    return headers['x-governor-code'] !== 'STORED_UNKNOWN'
  }
  const names = async (key: string, more: object) => {
    const body = { model: 'gpt-4o', input: 'go on', ...more }
    const { headers } = await site.send({ path: '/v1/responses', body, key })
    return headers['x-governor-code'] !== 'STORED_UNKNOWN'
  }
  for (const [path, begin] of [
    ['/v1/responses', { type: 'response.create', model: 'gpt-4o', input: 'hi', store: false }],
    ['/v1/realtime?model=gpt-realtime', { type: 'response.create' }],
  ] as const) {
    const kind = path.slice(4, 8)
    const [id, item, box, file] = [`resp_${kind}`, `msg_${kind}`, `cntr_${kind}`, `file-${kind}`]
    upstream.script = (session, event) => {
      if (event.type !== 'response.create') return
      session.send({ type: 'response.created', response: { id, store: false, output: [] } })
      session.send({ type: 'response.output_item.added', response_id: id, item: { id: item } })
      const annotation = {
        type: 'container_file_citation',
        container_id: box,
        file_id: file,
      }
      session.send({ type: 'response.output_text.annotation.added', response_id: id, annotation })
    }
    const client = await RealtimeClient.open(site.url, site.key, path)
    client.send(begin)
    await client.hears('response.output_text.annotation.added')
    t.strictSame([await knows(site.key, id), await knows(other, id)], [true, false], path)
    for (const reference of [
      { previous_response_id: id },
      { input: [{ type: 'item_reference', id: item }] },
      { tools: [{ type: 'code_interpreter', container: box }] },
      { input: [{ role: 'user', content: [{ type: 'input_file', file_id: file }] }] },
    ]) {
      const both = [await names(site.key, reference), await names(other, reference)]
      t.strictSame(both, [true, false], JSON.stringify(reference))
    }
    const named = { ...begin, event_id: 'mine', metadata: {}, extra: { file_id: file } }
    const thief = await RealtimeClient.open(site.url, other, path)
    thief.send(named)
    t.match(await thief.hears('error'), { error: { code: 'stored_unknown' } }, 'as in a call')
    thief.socket.close()
    const stranger = await RealtimeClient.open(site.url, other, path)
    stranger.send(begin)
    await stranger.hears('response.output_text.annotation.added')
    const known = [await knows(site.key, id), await knows(other, id)]
    t.strictSame(known, [false, false], 'an id that was given out twice')
    stranger.socket.close()
    client.socket.close()
  }
})

/** Asks for a response to an item; what came of it. */
async function asks(client: RealtimeClient, id: string): Promise<unknown> {
  const from = client.heard.length
  const input = [{ type: 'item_reference', id }]
  client.send({ type: 'response.create', response: { conversation: 'none', input } })
  return until('an answer', () => {
    const heard = client.heard.slice(from)
    const error = heard.find(({ type }) => type === 'error')?.['error'] as { code: string }
    return heard.some(({ type }) => type === 'response.done') ? 'answered' : (error?.code ?? null)
  })
}

t.test('an item of a session is named again in that session, and in no other', async (t) => {
  const upstream = await FakeRealtime.start(t, { greets: false })
  const site = await startGovernor(t, {
    upstream: upstream.url,
    policies: POLICIES,
    ownership: 'embedded',
  })
  const other = await site.createKey('other', [], 'globex')
  upstream.script = (session, event) => {
    const { type, item_id } = event
    if (type === 'conversation.item.create') {
      const item = { id: 'item_server', ...(event['item'] as object) }
      session.send({ type: 'conversation.item.added', item })
    }
    if (type === 'conversation.item.delete') {
      session.send({ type: 'conversation.item.deleted', item_id })
    }
    if (type === 'response.create') session.respond(['Hello'])
  }
  const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }
  const client = await RealtimeClient.open(site.url, site.key)
  t.equal(await asks(client, 'item_mine'), 'policy_denied', 'before it is there')
  client.send({ type: 'conversation.item.create', item: { id: 'item_mine', ...item } })
  client.send({ type: 'conversation.item.create', item })
  await client.hears('conversation.item.added', client.heard.length + 1)
  t.equal(await asks(client, 'item_mine'), 'answered')
  t.equal(await asks(client, 'item_server'), 'answered')
  for (const key of [site.key, other]) {
    const elsewhere = await RealtimeClient.open(site.url, key)
    t.equal(await asks(elsewhere, 'item_mine'), 'policy_denied', 'in another session')
    elsewhere.socket.close()
  }
  client.send({ type: 'conversation.item.delete', item_id: 'item_mine' })
  await client.hears('conversation.item.deleted')
  t.equal(await asks(client, 'item_mine'), 'policy_denied', 'after it was deleted')
  client.socket.close()
})

function ran(kind: string, id: string): object {
  return {
    type: `${kind}code_execution_tool_result`,
    tool_use_id: 'srvtoolu_1',
    content: { type: `${kind}code_execution_result`, content: [{ file_id: id }] },
  }
}

function message(n: number): object {
  return { id: `msg_${n}`, type: 'message', role: 'assistant' }
}

t.test('what tools of a message made is its tenant’s, whole and streamed', async (t) => {
  const upstream = await FakeUpstream.start(t, answer({}))
  const policies = '[{ id: all, allow: {} }]'
  const sections = { upstream: upstream.url, dialect: 'anthropic', policies, ownership: 'embedded' }
  const site = await startGovernor(t, sections)
  const other = await site.createKey('other', [], 'globex')
  const headers = { 'anthropic-version': '2023-06-01' }
  const tools = [{ type: 'code_execution_20250825', name: 'code_execution' }]
  const ask = (key: string, more: object) => {
    const messages = [{ role: 'user', content: 'plot it' }]
    const body = { model: 'claude-sonnet-4-5', max_tokens: 9, messages, ...more }
    return site.send({ path: '/v1/messages', body, key, headers })
  }
  upstream.behaviour = answer({
    ...message(1),
    content: [ran('bash_', 'file_011'), { type: 'text', text: 'file_id file_099' }],
    container: { id: 'container_011', expires_at: '2026-11-21T00:00:00Z' },
  })
  t.equal((await ask(site.key, { tools })).status, 200)
  upstream.behaviour = stream(
    [
      { type: 'message_start', message: { ...message(2), content: [] } },
      { type: 'content_block_start', index: 0, content_block: ran('', 'file_012') },
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', container: { id: 'container_012' } },
      },
      { type: 'message_stop' },
    ].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`),
  )
  t.match((await ask(site.key, { tools, stream: true })).text, /message_stop/)
  upstream.behaviour = answer({ ...message(3), content: [] })
  for (const id of ['container_011', 'container_012']) {
    t.equal((await ask(site.key, { container: id })).status, 200)
    t.equal((await ask(other, { container: id })).status, 404, id)
    t.equal((await ask(other, { container: { id, skills: [] } })).status, 404, id)
  }
  upstream.behaviour = answer({ id: 'file', type: 'file' })
  for (const id of ['file_011', 'file_012', 'file_099', 'msg_1']) {
    const path = `/v1/files/${id}`
    const isMade = id.startsWith('file_01')
    const own = await site.send({ method: 'GET', path, headers })
    t.equal(own.status, isMade ? 200 : 404, `${id} for its own tenant`)
    const theirs = await site.send({ method: 'GET', path, key: other, headers })
    t.equal(theirs.status, 404, `${id} for another`)
  }
})

t.test('what was spoken is named again by its own tenant alone', async (t) => {
  const upstream = await FakeUpstream.start(t, answer({}))
  const policies = '[{ id: all, allow: {} }]'
  const site = await startGovernor(t, { upstream: upstream.url, policies, ownership: 'embedded' })
  const other = await site.createKey('other', [], 'globex')
  const spoken = { modalities: ['text', 'audio'], audio: { voice: 'alloy', format: 'wav' } }
  const audio = { id: 'audio_1', data: 'AAAA' }
  const choices = [{ index: 0, message: { role: 'assistant', audio } }]
  upstream.behaviour = answer({ id: 'chatcmpl-1', choices })
  t.equal((await site.send({ body: { ...chat('hi'), ...spoken } })).status, 200)
  const delta = { audio: { id: 'audio_2' } }
  upstream.behaviour = stream([
    `data: ${JSON.stringify({ id: 'chatcmpl-2', choices: [{ index: 0, delta }] })}\n\n`,
    'data: [DONE]\n\n',
  ])
  t.equal((await site.send({ body: { ...chat('hi'), ...spoken, stream: true } })).status, 200)
  upstream.behaviour = answer({ id: 'chatcmpl-3', choices: [] })
  for (const id of ['audio_1', 'audio_2']) {
    const messages = [
      { role: 'assistant', audio: { id } },
      { role: 'user', content: 'and?' },
    ]
    const body = { ...chat('and?'), messages }
    t.equal((await site.send({ body })).status, 200)
    t.equal((await site.send({ body, key: other })).status, 404, id)
  }
  const path = '/v1/chat/completions/chatcmpl-1'
  t.equal((await site.send({ method: 'GET', path })).status, 404, 'the rest of it is not kept')
})

t.test('what is not kept is nobody’s, and costs nothing', async (t) => {
  const { site, upstream } = await start(t)
  upstream.behaviour = answer({ id: 'resp_passing', store: false, output: [] })
  const body = { model: 'gpt-4o', input: 'hi', store: false }
  t.equal((await site.send({ path: '/v1/responses', body })).status, 200)
  t.equal((await site.send({ method: 'GET', path: '/v1/responses/resp_passing' })).status, 404)
})

t.test('an answer cannot make a tenant the owner of what it only hands back', async (t) => {
  const { site, upstream } = await start(t)
  const body = { file_id: 'file-strange' }
  const path = '/v1/vector_stores'
  const made = await site.send({ path, body: { name: 'mine' } })
  const store = `${path}/${String(made.json['id'])}`
  const metadata = { output_file_id: 'file-strange', container_id: 'cntr_strange' }
  upstream.behaviour = answer({ id: 'file-strange', metadata, file_id: 'file-strange' })
  t.equal((await site.send({ path: `${store}/files`, body })).status, 403, 'nobody knows that file')
  for (const id of ['file-strange', 'cntr_strange']) {
    const kind = id.startsWith('file') ? 'files' : 'containers'
    t.equal((await site.send({ method: 'GET', path: `/v1/${kind}/${id}` })).status, 404)
  }
})

t.test('an id that a server gives out twice is nobody’s, and no call fails of it', async (t) => {
  const { site, other, upstream } = await start(t)
  const response = { object: 'response', id: 'resp_1', output: [] }
  upstream.behaviour = answer({ ...response, status: 'first' })
  const call = { path: '/v1/responses', body: { model: 'gpt-4o', input: 'hi' } }
  const read = { method: 'GET', path: '/v1/responses/resp_1' }
  t.equal((await site.send(call)).json['status'], 'first')
  t.equal((await site.send(read)).status, 200)
  const headers = { 'idempotency-key': 'once' }
  const repeated = await site.send({ ...call, headers, key: other })
  t.equal(repeated.status, 502, 'it may be the answer that the first tenant had')
  t.notMatch(repeated.text, /first/)
  t.equal((await site.send(read)).status, 200)
  upstream.behaviour = answer({ ...response, status: 'second' })
  t.equal((await site.send({ ...call, key: other })).json['status'], 'second')
  const next = { ...call, body: { ...call.body, previous_response_id: 'resp_1' } }
  for (const key of [site.key, other]) {
    t.equal((await site.send({ ...read, key })).status, 404)
    t.equal((await site.send({ ...next, key })).status, 403, 'nobody can look at it')
    t.equal((await site.send({ ...call, key })).status, 200, 'and again')
  }
})

t.test('ids outlive a restart', async (t) => {
  const { site } = await start(t)
  const made = await site.send({ path: '/v1/responses', body: { model: 'gpt-4o', input: 'hi' } })
  await site.governor.stop(0)
  await site.open()
  const path = `/v1/responses/${String(made.json['id'])}`
  t.equal((await site.send({ method: 'GET', path })).status, 200)
})

t.test('tenants that nobody chose to keep apart cannot reach what is kept', async (t) => {
  const account = new FakeAccount()
  const upstream = await FakeUpstream.start(t, account.behaviour)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    policies: '[{ id: a, allow: {} }]',
  })
  const kept = account.make('/v1/files')
  const path = `/v1/files/${kept.id}`
  t.equal((await site.send({ method: 'GET', path })).status, 200, 'one tenant is alone')
  const key = await site.createKey('other', [], 'globex')
  const body = { model: 'gpt-4o', input: 'hi' }
  const naming = { ...body, previous_response_id: 'resp_1' }
  const refused = await until('the second tenant to be noticed', async () => {
    const all = [
      await site.send({ method: 'GET', path, key }),
      await site.send({ method: 'GET', path: '/v1/files', key }),
      await site.send({ path: '/v1/responses', body: naming, key }),
    ]
    return all.every(({ status }) => status === 403) ? all : null
  })
  for (const each of refused) t.equal(each.headers['x-governor-code'], 'OWNERSHIP_UNCHOSEN')
  t.equal((await site.send({ path: '/v1/responses', body, key })).status, 200)
})

t.test('a store that is gone refuses with 503 what needs it, and nothing else', async (t) => {
  const postgres = await startPostgres(t)
  await migrate(postgres.url, Date.UTC(2026, 10, 1))
  const account = new FakeAccount()
  const upstream = await FakeUpstream.start(t, account.behaviour)
  const directory = t.testdir({ url: postgres.url })
  const sections = { upstream: upstream.url, policies: '[{ id: a, allow: {} }]' }
  const ownership = '{ store: postgres, postgres_file: url }'
  const site = new InProcess(directory, configText({ ...sections, ownership }))
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const create = { path: '/v1/responses', body: { model: 'gpt-4o', input: 'hi' } }
  const made = await site.send(create)
  t.equal(made.status, 200)
  const path = `/v1/responses/${String(made.json['id'])}`
  const pool = ['governor_pool_connections', 'pool="postgres:ownership"', 'state="open"'] as const
  t.ok((await site.metric(...pool)) >= 1, 'its connections are told')
  await postgres.kill()
  const naming = { ...create.body, previous_response_id: made.json['id'] }
  const asked = [
    { method: 'GET', path },
    { method: 'GET', path: '/v1/files' },
    { path: '/v1/responses', body: naming },
    create,
    { ...create, body: { ...create.body, stream: true } },
  ]
  for (const each of asked) {
    const refused = await site.send(each)
    t.equal(refused.status, 503, JSON.stringify(each))
    t.match(refused.headers, { 'x-governor-code': 'OWNERSHIP_UNAVAILABLE', 'retry-after': '1' })
    t.notMatch(refused.text, /resp_0/, 'no id leaves that nobody wrote down')
  }
  t.equal((await site.send({ body: chat('hi') })).status, 200, 'what keeps nothing goes on')
  await postgres.start()
  await until('the store to be used again', async () => (await site.send(create)).status === 200)
  t.equal((await site.send({ method: 'GET', path })).status, 200)
  await runSql(
    postgres.url,
    `INSERT INTO governor.owned (id, tenant, origin, models, awaited)
      SELECT 'o' || n, 'one', '', '[]', false FROM generate_series(1, 800) AS n`,
  )
  const bounds = { recordsMax: 1_000, expiresMs: 3_600_000, timeoutMs: 10_000, count() {} }
  const store = await PostgresOwners.open(openPool(postgres.url, 10_000), bounds)
  t.teardown(() => store.close())
  t.match([store.fault('one'), store.fault('two')], [/full/, null], 'counted by tenant there, too')
})

t.test('a tenant that fills the store leaves room for others', async (t) => {
  const account = new FakeAccount()
  const upstream = await FakeUpstream.start(t, account.behaviour)
  const directory = t.testdir()
  const ownership = '{ store: embedded, path: owners.db, records_max: 1000 }'
  const sections = { upstream: upstream.url, policies: POLICIES, ownership }
  const site = new InProcess(directory, configText(sections))
  const bounds = { recordsMax: 1_000, expiresMs: 3_600_000, timeoutMs: 10_000, count() {} }
  const owners = await EmbeddedOwners.open(join(directory, 'owners.db'), bounds)
  const claims = Array.from({ length: 790 }, (_, n) => {
    return { id: `o${n}`, tenant: 'acme', origin: '', models: [], isAwaited: false }
  })
  await owners.claim(claims, Date.now())
  await owners.close()
  site.key = await site.createKey()
  const other = await site.createKey('other', [], 'globex')
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const create = { path: '/v1/responses', body: { model: 'gpt-4o', input: 'hi' } }
  let made = 0
  for (let call = 0; call < 15; call++) {
    const { status, headers } = await site.send(create)
    if (status === 200) made++
    else t.equal(headers['x-governor-code'], 'OWNERSHIP_UNAVAILABLE')
  }
  t.equal(made, 10, 'four fifths')
  t.equal((await site.send({ body: chat('hi') })).status, 200, 'what keeps nothing goes on')
  t.equal((await site.send({ ...create, key: other })).status, 200)
})
