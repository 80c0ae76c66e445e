import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { migrate } from '../../src/audit/migrate.ts'
import type { Row } from '../../src/dialect/table.ts'
import { TABLES } from '../dialect/coverage.ts'
import { sampleCall } from '../dialect/samples.ts'
import type { Answered, Sent } from '../support/client.ts'
import { FakeAccount } from '../support/fake-account.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { freshDatabase } from '../support/postgres.ts'
import { configText, InProcess } from '../support/start-governor.ts'

/**
 * Goal: no id of one tenant is usable by another, through any endpoint of any table, in a path, a query or
 * wherever in a body. Method: two sidecars with a tenant each, one PostgreSQL, one account of a provider;
 * the calls are made from the tables, so that a new row is tried as it is added.
 */

const DIALECTS = ['openai', 'azure-openai', 'anthropic'] as const
const WANTED = { text: 'hello', model: 'gpt-4o' }
const ALLOW_ALL = `
  - { id: all, allow: {} }`
/** Members that name a thing, as each of the providers spells one. */
const NAMES: readonly ((id: string) => object)[] = [
  (id) => ({ previous_response_id: id }),
  (id) => ({ conversation: id }),
  (id) => ({ conversation: { id } }),
  (id) => ({ assistant_id: id }),
  (id) => ({ thread_id: id }),
  (id) => ({ input_file_id: id }),
  (id) => ({ training_file: id }),
  (id) => ({ container: id }),
  (id) => ({ tools: [{ type: 'file_search', vector_store_ids: ['vs_own', id] }] }),
  (id) => ({ tools: [{ type: 'code_interpreter', container: { type: 'auto', file_ids: [id] } }] }),
  (id) => ({ tool_resources: { code_interpreter: { file_ids: [id] } } }),
  (id) => ({ tool_resources: { file_search: { vector_stores: [{ file_ids: [id] }] } } }),
  (id) => ({ container: { id, skills: [] } }),
  (id) => ({ messages: [{ role: 'assistant', audio: { id } }] }),
  (id) => ({ voice: { id } }),
  (id) => ({ video: { id } }),
  (id) => ({ characters: [{ id }] }),
  (id) => ({ 'file\u005fid': id }),
  (id) => ({ extra: { deep: [[{ source: { type: 'file', file_id: id } }]] } }),
  (id) => ({ extra: [{ type: 'item_reference', id }] }),
  (id) => ({ extra: { attachments: [{ file_id: id, tools: [{ type: 'file_search' }] }] } }),
  (id) => ({ data_source: { source: { type: 'file_id', id } } }),
]

const REQUEST = { custom_id: 'a', method: 'POST', url: '/v1/responses' }
const ASKED = { model: 'gpt-4o', input: 'hi' }
const FIRST = { batch: { ...REQUEST, body: ASKED }, 'fine-tune': {}, evals: { item: {} } }
/** The second lines of files that are requests or examples, for whoever reads them later. */
const LINES: readonly (readonly [keyof typeof FIRST, (id: string) => object])[] = [
  ['batch', (id) => ({ ...REQUEST, body: { ...ASKED, previous_response_id: id } })],
  ['batch', (id) => ({ ...REQUEST, body: { ...ASKED, extra: [{ file_id: id }] } })],
  ['fine-tune', (id) => ({ messages: [{ content: [{ file: { file_id: id } }] }] })],
  ['evals', (id) => ({ item: { 'container\u005fid': id } })],
]

/** Uploads of files of which a line names `id`. */
function uploads(id: string): Sent[] {
  const disposition = 'Content-Disposition: form-data; name='
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  return LINES.flatMap(([purpose, line]) => {
    const lines = [FIRST[purpose], line(id)].map((each) => JSON.stringify(each)).join('\n')
    const body =
      `--b\r\n${disposition}"purpose"\r\n\r\n${purpose}\r\n` +
      `--b\r\n${disposition}"file"; filename="a.jsonl"\r\n\r\n${lines}\r\n--b--\r\n`
    return ['/up/v1/files', '/azure-openai/openai/v1/files'].map((path) => ({
      path,
      body,
      headers,
    }))
  })
}

/** A form whose field names `id` as clients write an object into one. */
function videoForms(id: string): Sent[] {
  const disposition = 'Content-Disposition: form-data; name='
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  return ['input_reference[file_id]', 'characters[0][id]'].map((field) => {
    const body =
      `--b\r\n${disposition}"prompt"\r\n\r\na cat\r\n--b\r\n${disposition}"model"\r\n\r\nsora-2` +
      `\r\n--b\r\n${disposition}"${field}"\r\n\r\n${id}\r\n--b--\r\n`
    return { path: '/up/v1/videos', body, headers }
  })
}

async function twoSidecars(t: Tap) {
  const url = await freshDatabase(t)
  await migrate(url, Date.UTC(2026, 10, 1))
  const account = new FakeAccount()
  const upstream = await FakeUpstream.start(t, account.behaviour)
  const more = DIALECTS.slice(1).map((dialect) => {
    return `{ name: ${dialect}, dialect: ${dialect}, url: '${upstream.url}', credential: '\${UPSTREAM_KEY}' }`
  })
  const directory = t.testdir()
  const sites = ['acme', 'globex'].map((name) => {
    const sections = { upstream: upstream.url, upstreams: more, policies: ALLOW_ALL }
    const ownership = `{ store: postgres, postgres_file: url }`
    const home = join(directory, name)
    mkdirSync(home)
    writeFileSync(join(home, 'url'), url)
    return new InProcess(home, configText({ ...sections, ownership }))
  })
  for (const [index, site] of sites.entries()) {
    site.key = await site.createKey('key', [], ['acme', 'globex'][index])
    await site.open()
    t.teardown(() => site.governor.stop(0))
  }
  const [acme, globex] = sites as [InProcess, InProcess]
  return { upstream, acme, globex }
}
type Tap = Parameters<typeof freshDatabase>[0] & {
  testdir(): string
  teardown(then: () => unknown): void
}

function call(dialect: string, row: Row, path: string): Sent {
  const mount = dialect === 'openai' ? '/up' : `/${dialect}`
  const filled = `${mount}${path.replace('{model}', 'gpt-4o')}`
  const { body, headers } = sampleCall(row, WANTED, false)
  const extra = dialect === 'anthropic' ? { 'anthropic-version': '2023-06-01' } : {}
  return {
    method: row.method,
    path: filled,
    headers: { ...headers, ...extra },
    ...(body !== undefined && { body }),
  }
}

t.test('no id of one tenant is usable by another', async (t) => {
  const { upstream, acme, globex } = await twoSidecars(t)
  const response = { path: '/v1/responses', body: { model: 'gpt-4o', input: 'hi' } }
  const mine = String((await acme.send(response)).json['id'])
  const theirs = String((await globex.send(response)).json['id'])
  t.equal((await acme.send({ method: 'GET', path: `/v1/responses/${mine}` })).status, 200)
  t.not(mine, theirs)
  let refused = 0
  let malformed = 0
  const isRefused = (answered: Answered, what: string): void => {
    if (answered.status === 404 && answered.headers['x-governor-code'] === 'STORED_UNKNOWN')
      refused++
    else t.fail(`${what}: ${answered.status} ${answered.text.slice(0, 200)}`)
  }
  const before = upstream.received.length
  for (const dialect of DIALECTS) {
    for (const row of TABLES[dialect]!) {
      // Models are nobody's.
      if (row.endpoint.operation === 'models') continue
      const places = row.path.split('{id}').length - 1
      for (let place = 0; place < places; place++) {
        let count = 0
        const path = row.path.replaceAll('{id}', () => (count++ === place ? mine : theirs))
        isRefused(await globex.send(call(dialect, row, path)), `${row.method} ${path}`)
      }
      const cursors = row.endpoint.query.filter((name) =>
        /^(?:after|before)(?:_id)?$|^run_id$/.test(name),
      )
      for (const name of cursors) {
        const path = `${row.path.replaceAll('{id}', theirs)}?${name}=${mine}`
        isRefused(await globex.send(call(dialect, row, path)), `${row.method} ${path}`)
      }
      const sent = call(dialect, row, row.path.replaceAll('{id}', theirs))
      if (sent.body === undefined || Buffer.isBuffer(sent.body)) continue
      for (const name of NAMES) {
        const body = { ...(sent.body as object), ...name(mine) }
        const answered = await globex.send({ ...sent, body })
        // An endpoint that does not take the member at all may say that instead.
        if (answered.status === 400) malformed++
        else isRefused(answered, `${row.method} ${row.path} ${JSON.stringify(body)}`)
      }
    }
  }
  for (const sent of [...uploads(mine), ...videoForms(mine)]) {
    isRefused(await globex.send(sent), JSON.stringify(sent))
  }
  t.ok(refused > 1500 && refused > 10 * malformed, `${refused} calls, ${malformed} malformed`)
  t.equal(upstream.received.length, before, 'the provider saw none of them')
})
