import { join } from 'node:path'

import t from 'tap'

import { governor } from '../support/cli.ts'
import { startGovernor, writeConfig } from '../support/start-governor.ts'
import { chat } from './calls.ts'

const POLICIES = `
  - { id: offered, allow: { operations: [chat], models: ["gpt-4o*"] } }
  - { id: no-frontier, deny: { models: ["gpt-5*"] }, message: Ask first }
  - { id: codename, mode: shadow, deny: { input: { words: [zeus] } } }
  - { id: research, for: { models: ["o3*"] }, require: { roles: [research] } }
  - { id: lead, mode: shadow, require: { roles: [lead] } }
  - { id: ci, mode: warn, deny: { keys: [test] } }`
const CONFIG = `version: 1
upstreams: [{ name: echo, dialect: openai, url: "echo:", models: ["gpt-*", "o3*"] }]
policies:${POLICIES}
`

/** The table of policies, without the columns' padding. */
function table(out: string): string[] {
  const rows = out.slice(out.lastIndexOf('\n\n') + 2).trimEnd()
  return rows.split('\n').map((row) => row.replaceAll(/ {2,}/g, ' | '))
}

t.test('explain says of every policy whether it matched, and which field did not', async (t) => {
  const cwd = t.testdir({
    'governance.yaml': CONFIG,
    'request.json': JSON.stringify({
      model: 'gpt-5',
      input: ['hello', 'ask zeus'],
      roles: ['lead'],
      key: 'test',
      labels: { tier: 'gold' },
      time: '2026-11-21T14:30:00Z',
    }),
  })
  const { code, out } = await governor(['explain', 'request.json'], cwd)
  t.equal(code, 0)
  t.match(out, /^deny by no-frontier: Ask first\nby governance\.yaml, digest [0-9a-f]{12}\n\n/)
  t.strictSame(table(out), [
    'not matched | allow | offered | models',
    'matched | deny | no-frontier | models',
    'matched | deny (shadow) | codename | input.words',
    'skipped | require | research | not about this call: for.models',
    'not matched | require (shadow) | lead | it holds',
    'matched | deny (warn) | ci | keys',
  ])
})

t.test('explain says when no upstream serves the model', async (t) => {
  const cwd = t.testdir({ 'governance.yaml': CONFIG, 'request.json': '{"model":"llama"}' })
  const { code, out } = await governor(['explain', 'request.json'], cwd)
  t.equal(code, 0)
  t.equal(out.split('\n')[0], 'deny: No upstream serves this model: "llama"')
})

t.test('explain exits 2 where there is nothing to explain', async (t) => {
  const cwd = t.testdir({
    'governance.yaml': CONFIG,
    'broken.json': '{"model":',
    'unknown.json': '{"modell":"gpt-5"}',
    'labels.json': '{"model":"gpt-5","labels":["gold"]}',
    'time.json': '{"model":"gpt-5","time":"tonight"}',
  })
  for (const [file, message] of [
    ['none.json', /^none\.json: Neither a request id, as in x-governor-request-id, nor a file/],
    ['.', /^\.: A directory: name a JSON file/],
    ['broken.json', /^broken\.json: The request body is not accepted/],
    ['unknown.json', /^unknown\.json: .*"modell": it is not one of tenant, user/],
    ['labels.json', /"labels": it is an object of texts/],
    ['time.json', /"time": it is a time like 2026-11-21T14:30:00Z/],
    ['00000000-0000-4000-8000-000000000000', /There is no audit log at /],
  ] as const) {
    const { code, out, err } = await governor(['explain', file], cwd)
    t.equal(code, 2, file)
    t.match(err, message)
    t.equal(out, '')
  }
})

t.test('explain reads a decision from the audit, and what it found in the texts', async (t) => {
  const site = await startGovernor(t, { policies: POLICIES })
  const id = await chat(site, 'gpt-4o', 'ask zeus')
  const { code, stdout } = await site.cli('explain', id)
  t.equal(code, 0)
  const digest = site.load().digest
  t.match(stdout, `allow  chat gpt-4o  tenant=acme`)
  t.match(
    stdout,
    `\ndecided by the snapshot ${digest}\n${site.file} is still the same\nallow by offered`,
  )
  t.strictSame(table(stdout), [
    'matched | allow | offered | operations, models',
    'not matched | deny | no-frontier | models',
    'matched | deny (shadow) | codename | input.words',
    'skipped | require | research | not about this call: for.models',
    'matched | require (shadow) | lead | not met: roles',
    'matched | deny (warn) | ci | keys',
  ])
})

t.test('explain says that the file has changed, and does not guess what a text held', async (t) => {
  const site = await startGovernor(t, { policies: POLICIES })
  const id = await chat(site, 'gpt-4o', 'ask zeus')
  const before = site.load().digest
  writeConfig(
    site.file,
    CONFIG.replace(
      'mode: shadow, deny: { input: { words: [zeus] }',
      'deny: { input: { words: [hera] }',
    ).replace(
      'upstreams',
      `audit: { path: ${site.auditPath} }\nauth: { keys: { path: ${site.keysPath} } }\nupstreams`,
    ),
  )
  const { code, stdout } = await site.cli('explain', id)
  t.equal(code, 0)
  t.match(stdout, `decided by the snapshot ${before}\n${site.file} is another by now, digest `)
  t.match(stdout, '\nunknown: codename needs what was not recorded\n')
  t.equal(table(stdout)[2], 'unknown | deny | codename | input.words: was not recorded')
})

t.test(
  'explain knows of calls that no policy was asked about, and of those that are not there',
  async (t) => {
    const site = await startGovernor(t, { policies: POLICIES })
    const answer = await site.send({
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json' },
      body: '{"model":"gpt-4o","model":"gpt-5"}',
    })
    const refused = await site.cli('explain', String(answer.headers['x-governor-request-id']))
    t.equal(refused.code, 0)
    t.match(refused.stdout, 'No policy was asked: it was refused before, with BODY_INVALID')
    const none = await site.cli('explain', '00000000-0000-4000-8000-000000000000')
    t.equal(none.code, 1)
    t.match(none.stdout, `The audit at ${join(site.auditPath)} has no decision of 00000000-`)
  },
)
