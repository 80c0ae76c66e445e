import { readFileSync, writeFileSync } from 'node:fs'

import t from 'tap'

import { chat } from '../support/client.ts'
import { answer, FakeUpstream } from '../support/fake-upstream.ts'
import {
  configText,
  type InProcess,
  startGovernor,
  writeConfig,
} from '../support/start-governor.ts'

/**
 * Goal: with `audit.content: full` the audit has what was said, as it left and as it came back, readable only
 * by who says so in the audit, and gone when a person is erased. Method: calls through the proxy, questions
 * through the command line.
 */

const AUDIT = '{ path: audit.db, content: full }'
const POLICIES = `
  - { id: all, allow: { operations: [chat] } }
  - { id: mask, redact: { input: { detect: [email] } } }
  - { id: codename, deny: { input: { words: [zeus] } } }`

function adminEntries(site: InProcess): unknown[] {
  return site
    .entries()
    .filter(({ body }) => body['action'] === 'audit.content')
    .map(({ body }) => body['about'])
}

t.test('what was forwarded and answered is kept, and shown to who asks for it', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, audit: AUDIT, policies: POLICIES })
  upstream.behaviour = answer()
  const whole = await site.send({ body: chat('Mail ann@example.com, please') })
  t.equal(whole.status, 200)
  const denied = await site.send({ body: chat('about zeus') })
  t.equal(denied.status, 403)
  const id = String(whole.headers['x-governor-request-id'])
  const [asked, answered] = await site.entriesOf(id, 2)
  const sent = upstream.received[0]!.body
  t.match(asked!.body, { content: { prompt: { bytes: sent.length } } })
  t.match(answered!.body, { content: { answer: { bytes: whole.text.length } } })
  t.notMatch(JSON.stringify(site.entries()), /please|example\.com|zeus/)
  t.notMatch(readFileSync(site.auditPath, 'latin1'), /please|example\.com/)

  const plain = await site.cli('audit', 'query')
  t.notMatch(plain.stdout, /please/)
  t.strictSame(adminEntries(site), [], 'a question without --content is nobody’s business')

  const shown = await site.cli('audit', 'query', '--content', '--json', '--tenant', 'acme')
  t.equal(shown.code, 0, shown.stderr)
  const calls = shown.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.strictSame(calls[0].content, [
    { name: 'prompt', text: sent.toString() },
    { name: 'answer', text: whole.text },
  ])
  t.match(calls[0].content[0].text, /Mail \[EMAIL_1\], please/, 'as it was forwarded')
  t.equal(calls[1].content, undefined, 'a refused call keeps nothing')
  t.match(adminEntries(site), [{ command: 'audit query', tenant: 'acme', by: /./ }])

  const tail = await site.cli('audit', 'tail', '-n', '50', '--content')
  t.match(tail.stdout, /\n {4}prompt {2}\{.*please/)
  t.match(tail.stdout, /\n {4}answer {2}\{/)
  const explained = await site.cli('explain', id, '--content')
  t.match(explained, { code: 0, stdout: /prompt {2}\{.*\[EMAIL_1\]/ })
  t.notMatch((await site.cli('explain', id)).stdout, /please/)
  t.match(adminEntries(site), [{}, { command: 'audit tail' }, { command: 'explain', request: id }])
  t.match(await site.cli('audit', 'query', '--content', '--url'), {
    code: 2,
    stderr: /not shipped/,
  })

  t.notMatch((await site.cli('audit', 'export')).stdout, /please/)
  t.notMatch((await site.cli('audit', 'export', '--all')).stdout, /please/)
  const subject = `acme/${site.key.split('.')[0]}`
  t.match(await site.cli('audit', 'erase', '--subject', subject), { code: 0 })
  t.notMatch((await site.cli('audit', 'query', '--content')).stdout, /please/)
  t.equal((await site.send({ body: chat('and again') })).status, 200)
  await site.governor.stop()
  const verified = await site.cli('audit', 'verify', '--strict')
  t.equal(verified.code, 0, verified.stdout)
})

t.test('a stream is kept as the client got it, also one it left', async (t) => {
  const site = await startGovernor(t, { upstream: 'echo:?pace=5ms', audit: AUDIT })
  const streamed = await site.send({ body: chat('a word or two', { stream: true }) })
  t.equal(streamed.status, 200)
  const id = String(streamed.headers['x-governor-request-id'])
  const [, answered] = await site.entriesOf(id, 2)
  t.match(answered!.body, { content: { answer: { bytes: Buffer.byteLength(streamed.text) } } })
  const shown = await site.cli('audit', 'query', '--content', '--json')
  const call = JSON.parse(shown.stdout.trim())
  t.equal(call.content[1].text, streamed.text)
})

t.test('of a long call the beginning is kept, and the entry says so', async (t) => {
  const site = await startGovernor(t, { audit: AUDIT })
  const long = await site.send({ body: chat('x'.repeat(300_000)) })
  t.equal(long.status, 200)
  const [asked] = await site.entriesOf(String(long.headers['x-governor-request-id']), 2)
  const { prompt } = asked!.body['content'] as { prompt: { bytes: number; kept: number } }
  t.ok(prompt.bytes > 300_000)
  t.equal(prompt.kept, 128 * 1024)
})

t.test('a reload turns it on and off for the calls that follow', async (t) => {
  const site = await startGovernor(t)
  const contentOf = async () => {
    const { headers } = await site.send({ body: chat('hi') })
    const [asked] = await site.entriesOf(String(headers['x-governor-request-id']), 2)
    return asked!.body['content'] !== undefined
  }
  t.equal(await contentOf(), false)
  const snapshot = site.load()
  await site.governor.reload({ ...snapshot, audit: { ...snapshot.audit, content: 'full' } })
  t.equal(await contentOf(), true)
  await site.governor.reload(snapshot)
  t.equal(await contentOf(), false)
})

t.test('explain and replay see the texts that were kept', async (t) => {
  const allow = '- { id: all, allow: { operations: [chat] } }'
  const masks = '- { id: mask, redact: { input: { detect: [email] } } }'
  const site = await startGovernor(t, { audit: AUDIT, policies: `\n  ${allow}\n  ${masks}` })
  const send = async (words: string) => {
    const { status, headers } = await site.send({ body: chat(words) })
    t.equal(status, 200)
    return String(headers['x-governor-request-id'])
  }
  const named = await send('about hermes')
  await send('about nothing')
  await send('mail ann@example.com about hermes')
  await site.entriesOf(named, 2)
  const next = `${site.directory}/next.yaml`
  const rule = '- { id: hermes, deny: { input: { words: [hermes] } } }'
  const policies = `\n  ${allow}\n  ${masks}\n  ${rule}`
  writeFileSync(next, configText({ audit: AUDIT, policies }))
  const replay = async (...more: string[]) => {
    const { stdout } = await site.cli('replay', '--against', next, '--json', ...more)
    const { decisions, same, changed, unknown } = JSON.parse(stdout)
    return { decisions, same, changed, unknown }
  }
  t.strictSame(await replay(), { decisions: 3, same: 0, changed: 0, unknown: 3 })
  t.strictSame(
    await replay('--content'),
    { decisions: 3, same: 1, changed: 1, unknown: 1 },
    'what was masked is not what a policy saw',
  )
  writeConfig(site.file, configText({ audit: AUDIT, policies }))
  t.match((await site.cli('explain', named)).stdout, /unknown: hermes needs what was not recorded/)
  t.match((await site.cli('explain', named, '--content')).stdout, /deny by hermes/)
  t.match(adminEntries(site), [{ command: 'replay', against: next }, { command: 'explain' }])
})
