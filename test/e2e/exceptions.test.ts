import t from 'tap'

import { configText, startGovernor, writeConfig } from '../support/start-governor.ts'

/** Goal: an approved exception lifts one policy from some calls until it ends, and leaves a trace. */

const POLICIES = `
  - { id: open, allow: { operations: [chat] } }
  - { id: no-frontier, deny: { models: ["gpt-5*"] } }
  - { id: codename, deny: { input: { words: [zeus] } } }
`
const chat = (model: string, content: string) => ({
  path: '/v1/chat/completions',
  body: { model, messages: [{ role: 'user', content }] },
})

function exceptions(expires: string): string {
  return `${POLICIES}
exceptions:
  - id: EXC-142
    policy: no-frontier
    for: { keys: [test] }
    reason: DPIA-31
    approved_by: dpo
    expires: ${expires}`
}

t.test('a lifted policy refuses nobody it was lifted from, and the audit says why', async (t) => {
  const site = await startGovernor(t, { policies: exceptions('2999-12-31') })
  const other = await site.createKey('other')
  const answer = await site.send(chat('gpt-5', 'hello'))
  t.equal(answer.status, 200)
  t.equal((await site.send({ ...chat('gpt-5', 'hello'), key: other })).status, 403)
  const named = await site.send(chat('gpt-5', 'zeus'))
  t.equal(named.status, 403)
  t.equal(named.headers['x-governor-policy'], 'codename', 'every other policy holds')

  const id = String(answer.headers['x-governor-request-id'])
  const [decision] = await site.entriesOf(id, 2)
  t.strictSame(decision?.body['policies'], [
    { id: 'open', mode: 'enforce', result: 'allowed', why: 'operations' },
    {
      id: 'no-frontier',
      mode: 'enforce',
      result: 'excepted',
      why: 'models',
      exception: 'EXC-142',
    },
  ])
  t.equal(await site.metric('governor_exception_uses_total', 'exception="EXC-142"'), 2)
  t.equal(
    await site.metric('governor_exception_end_time_seconds', 'exception="EXC-142"'),
    Date.parse('3000-01-01T00:00:00Z') / 1000,
  )
  const explained = await site.cli('explain', id)
  t.match(explained.stdout, /^excepted +deny +no-frontier +lifted by EXC-142: models$/m)
  const replayed = await site.cli('replay', '--against', site.file)
  t.equal(replayed.code, 0, replayed.stdout)

  await site.governor.stop(0)
  const used = site.entries().filter(({ kind }) => kind === 'exception.used')
  t.match(
    used.map(({ body }) => body),
    [
      {
        exception: 'EXC-142',
        policy: 'no-frontier',
        reason: 'DPIA-31',
        approved_by: 'dpo',
        expires: '3000-01-01T00:00:00.000Z',
        count: 1,
        first_request_id: id,
      },
    ],
    'a call that another policy refused was let through by nothing',
  )
  const loaded = site.entries().find(({ kind }) => kind === 'policy.load')
  t.match(loaded?.body, { exceptions: [{ id: 'EXC-142', policy: 'no-frontier' }] })
  t.match((await site.cli('audit', 'tail')).stdout, /exception\.used  exception=EXC-142 policy=no/)
  t.equal((await site.cli('audit', 'verify')).code, 0)
})

t.test('an exception that has ended lifts nothing, and one that is reloaded does', async (t) => {
  const site = await startGovernor(t, { policies: exceptions('2020-01-31') })
  const check = async () => {
    const asked = { path: '/v1/check', body: { model: 'gpt-5', input: 'hello' } }
    return (await site.send(asked)).json as { decision: string; policy: string }
  }
  t.match(await check(), { decision: 'deny', policy: 'no-frontier' })
  t.match((await site.cli('check')).stdout, /expires {2}Note: Ended at 2020-02-01T00:00Z: it lifts/)
  writeConfig(site.file, configText({ policies: exceptions('2999-12-31') }))
  await site.governor.reload(site.load())
  t.match(await check(), { decision: 'allow', policy: 'open' })
})

function exempt(id: string, policy: string): string {
  return `  - { id: ${id}, policy: ${policy}, for: { keys: [test] }, reason: a, approved_by: b, expires: 2999-12-31 }\n`
}

t.test('a policy on answers and one that sets a parameter are lifted too', async (t) => {
  const site = await startGovernor(t, {
    policies: `
  - { id: open, allow: { operations: [chat] } }
  - { id: silent, deny: { output: { words: [zeus] } } }
  - { id: short, for: { operations: [chat] }, set: { max_output_tokens: { at_most: 10 } } }
exceptions:
${exempt('A', 'silent')}${exempt('S', 'short')}`,
  })
  const other = await site.createKey('other')
  const call = chat('gpt-4o', 'tell me of zeus')
  const asked = { ...call, body: { ...call.body, max_tokens: 500 } }
  const held = await site.send({ ...asked, key: other })
  t.equal(held.status, 403)
  t.equal(held.headers['x-governor-policy'], 'silent')
  const short = chat('gpt-4o', 'hello')
  const set = { ...short, body: { ...short.body, max_tokens: 500 } }
  t.equal((await site.send({ ...set, key: other })).headers['x-governor-changed'], 'set')

  const lifted = await site.send(asked)
  t.equal(lifted.status, 200)
  t.match(lifted.text, /zeus/)
  t.equal(lifted.headers['x-governor-changed'], undefined)
  const [decision] = await site.entriesOf(String(lifted.headers['x-governor-request-id']), 2)
  const policies = decision!.body['policies'] as { id: string; exception?: string }[]
  t.strictSame(
    policies.map(({ id, exception }) => [id, exception]),
    [
      ['open', undefined],
      ['silent', 'A'],
      ['short', 'S'],
    ],
  )
})
