import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { send } from '../support/client.ts'
import { configText, Site, startChild, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: a candidate sees live traffic, is recorded beside what was decided, and decides nothing. */

const LIVE = `
  - { id: open, allow: { operations: [chat], models: ["gpt-4o*", "gpt-5*"] } }
  - { id: codename, deny: { input: { words: [zeus] } } }
candidate: next.yaml`
const NEXT = (policies: string) => `version: 1
upstreams: [{ name: elsewhere, dialect: openai, url: "echo:", models: ["gpt-*"] }]
policies:
  - { id: open, allow: { operations: [chat], models: ["gpt-4o*", "gpt-5*"] } }
${policies}`
const NO_FRONTIER = '  - { id: no-frontier, deny: { models: ["gpt-5*"] } }\n'
const chat = (model: string, content = 'hello') => ({
  path: '/v1/chat/completions',
  body: { model, messages: [{ role: 'user', content }] },
})

t.test('both decisions are in one entry, and only one counts', async (t) => {
  const directory = t.testdir({ 'next.yaml': NEXT(NO_FRONTIER) })
  const inDirectory = {
    testdir: () => directory,
    teardown: (then: () => unknown) => t.teardown(then),
  }
  const site = await startGovernor(inDirectory, { policies: LIVE })
  const decided = async (model: string, content?: string) => {
    const { status, headers } = await site.send(chat(model, content))
    const [entry] = await site.entriesOf(String(headers['x-governor-request-id']), 1)
    const { decision, policy, candidate } = entry!.body
    const { policy_digest: digest, ...said } = candidate as Record<string, unknown>
    t.equal(digest, site.load().candidate?.digest)
    return { status, decision, policy, candidate: said }
  }
  t.strictSame(await decided('gpt-4o'), {
    status: 200,
    decision: 'allow',
    policy: 'open',
    candidate: { decision: 'allow', policy: 'open' },
  })
  t.strictSame(await decided('gpt-5'), {
    status: 200,
    decision: 'allow',
    policy: 'open',
    candidate: {
      decision: 'deny',
      policy: 'no-frontier',
      policies: [{ id: 'no-frontier', mode: 'enforce', result: 'denied', why: 'models' }],
    },
  })
  t.strictSame(await decided('gpt-4o', 'zeus'), {
    status: 403,
    decision: 'deny',
    policy: 'codename',
    candidate: { decision: 'allow', policy: 'open' },
  })
  t.strictSame(await decided('gpt-5', 'zeus'), {
    status: 403,
    decision: 'deny',
    policy: 'codename',
    candidate: {
      decision: 'deny',
      policy: 'no-frontier',
      policies: [{ id: 'no-frontier', mode: 'enforce', result: 'denied', why: 'models' }],
    },
  })
  const asked = await site.send({ path: '/v1/check', body: { model: 'gpt-5', input: 'hello' } })
  t.match(asked.json, { decision: 'allow', policy: 'open' }, 'who asks hears what would happen')
  const count = (result: string, policy: string) =>
    site.metric('governor_candidate_decisions_total', `result="${result}"`, `policy="${policy}"`)
  t.equal(await count('same', 'none'), 1)
  t.equal(await count('refuses', 'no-frontier'), 2)
  t.equal(await count('lets_through', 'codename'), 1)
  t.equal(await count('other_policy', 'no-frontier'), 1)
  const loads = site.entries().filter(({ kind }) => kind === 'policy.load')
  t.match(
    loads.map(({ body }) => [body['role'], body['policy_digest']]),
    [
      [undefined, site.load().digest],
      ['candidate', site.load().candidate?.digest],
    ],
  )
  writeFileSync(join(directory, 'request.json'), '{"model":"gpt-5","input":"hello"}')
  const { stdout } = await site.cli('explain', join(directory, 'request.json'))
  t.match(stdout, /^allow by open\n[^]*\n\ndeny by no-frontier: [^\n]*\nby the candidate \//)
})

t.test('a changed candidate is taken, and a broken one is not', async (t) => {
  const directory = t.testdir({ 'next.yaml': NEXT('') })
  const site = new Site(directory, configText({ policies: LIVE }))
  site.key = await site.createKey()
  const child = await startChild(t, site)
  t.match(child.stdout, /candidate +\S+next\.yaml \(\w{12}\), in shadow/)
  const candidate = async () => {
    const { status, headers } = await send(child.url, { key: site.key, ...chat('gpt-5') })
    t.equal(status, 200)
    const [entry] = await site.entriesOf(String(headers['x-governor-request-id']), 1)
    return (entry!.body['candidate'] as { decision: string }).decision
  }
  t.equal(await candidate(), 'allow')
  writeFileSync(join(directory, 'next.yaml'), NEXT('  - { id: a, deny: {}, allow: {} }\n'))
  await until('its refusal', () => child.stderr.includes('One verb a policy'))
  t.equal(await candidate(), 'allow', 'the last good one stays')
  writeFileSync(join(directory, 'next.yaml'), NEXT(NO_FRONTIER))
  await until('the new one', async () => (await candidate()) === 'deny')
})
