import t, { type Test } from 'tap'

import { chat } from '../support/client.ts'
import { answer, FakeUpstream } from '../support/fake-upstream.ts'
import { type InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: text that attacks whoever reads it is stored as data and shown escaped. Method: put it
 * wherever a client or an upstream may choose a text, then read the audit as people do.
 */

/** Anything a terminal would obey, line ends of the output itself aside. */
const OBEYED = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]/u

function tool(name: string): object {
  return { type: 'function', function: { name, parameters: {} } }
}

t.test('names that attack are stored, shown escaped, and end nothing', async (t) => {
  const hostile =
    '\u001b[2J\u001b]52;c;cm0gLXJm\u0007\u0000\u009b31m\u202e<img src=x onerror=a()>=1+1\r\n{"kind":"x"}'
  const upstream = await FakeUpstream.start(
    t,
    answer({
      id: hostile,
      model: hostile,
      usage: { prompt_tokens: 2 ** 63, completion_tokens: -1 },
    }),
  )
  const open = `
  - id: all
    allow: { operations: [chat, embeddings, models], models: ['*'] }`
  const site = await startGovernor(t, { upstream: upstream.url, policies: open })
  let passed = 0
  for (const body of [
    chat(hostile),
    chat('lone \ud800 surrogate \udc00'),
    chat('hi', { tools: [tool(hostile)] }),
    chat('hi', { tools: [tool('__proto__'), tool('a\ud800'), tool('x'.repeat(5000))] }),
    chat('hi', { metadata: { constructor: 'x', [hostile]: hostile }, user: hostile }),
    chat('hi', { model: hostile }),
    chat('hi', { model: '\u001b[31mgpt-4o' }),
    chat('hi', { model: 'm'.repeat(1_000_000) }),
    chat('hi', { model: `m${'-'.repeat(60_000)}` }),
    chat('hi', { model: '__proto__' }),
    chat('hi', { model: 'constructor' }),
    chat('hi', { stream: false, n: 1, seed: 2 ** 53 }),
  ]) {
    const { status, json } = await site.send({ body })
    if (status === 200) passed += 1
    t.ok(status === 200 || status === 400, `${status}: ${JSON.stringify(json).slice(0, 100)}`)
    const message = json.error?.message ?? ''
    t.ok(message.length < 1000, 'a refusal is short')
    t.notMatch(message, OBEYED)
  }
  for (const path of [
    '/v1/models/%1b%5b2J',
    '/v1/models/__proto__',
    `/v1/models/${'m'.repeat(2000)}`,
  ]) {
    const { status } = await site.send({ method: 'GET', path })
    t.ok(status < 500, `${path.slice(0, 40)}: ${status}`)
    if (status === 200) passed += 1
  }
  const agent = { 'user-agent': 'a\u009b31m', 'x-client-request-id': '=cmd|calc' }
  t.equal((await site.send({ body: chat('hi'), headers: agent })).status, 200)
  passed += 1

  await until('an outcome for each call that passed', () => {
    return site.entries().filter(({ kind }) => kind === 'outcome').length === passed
  })
  await staysReadable(t, site)
  const { text } = await site.admin('/metrics')
  t.notMatch(text, /m{20}|img|__proto__/, 'metrics have no names that clients chose')
  const lost = [1, 2].map(() => site.metric('governor_audit_lost_total'))
  t.strictSame(await Promise.all(lost), [0, 0], 'to ask how many entries were lost loses none')
})

/** The audit and the log, as people and databases read them. */
async function staysReadable(t: Test, site: InProcess): Promise<void> {
  for (const format of [[], ['--json']]) {
    const { code, stdout } = await site.cli('audit', 'tail', '-n', '1000', ...format)
    t.equal(code, 0)
    t.notMatch(stdout, OBEYED, `tail ${format.join('')}`)
    const lines = stdout.trimEnd().split('\n')
    t.equal(lines.length, site.entries().length, 'one line an entry')
    if (format.length > 0) for (const line of lines) JSON.parse(line)
  }
  for (const { body } of site.entries()) {
    const text = JSON.stringify(body)
    t.ok(text.length < 4096, `${text.length} characters`)
    t.ok(text.isWellFormed() && !/\\u0000|\\ud[89a-f]/i.test(text), 'a database takes it')
  }
  for (const line of site.logLines) t.notMatch(line.trimEnd(), OBEYED)
  const verified = await site.cli('audit', 'verify')
  t.equal(verified.code, 0, verified.stdout)
  t.equal(({} as Record<string, unknown>)['x'], undefined)
}
