import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { chat, send } from '../support/client.ts'
import { answer, echoKey, FakeUpstream, stream } from '../support/fake-upstream.ts'
import { rawAnswer } from '../support/raw-http.ts'
import { startGovernor, UPSTREAM_KEY } from '../support/start-governor.ts'

/**
 * Goal: no key and no prompt is where it should not be. Method: use them in every way, then read all
 * that Governor wrote: answers, logs, metrics, every byte of its files.
 */

const PROMPT = 'the-prompt-8f14e45f'
const SAID = 'the-answer-c9f0f895'

t.test('no secret and no content is left anywhere', async (t) => {
  const upstream = await FakeUpstream.start(t, answer({ id: 'a', model: 'm', said: SAID }))
  const site = await startGovernor(t, { upstream: upstream.url })
  const [, secret] = site.key.split('.') as [string, string]
  const wrong = `${site.key.slice(0, -6)}wrong1`
  const answers: string[] = []
  const call = async (sent: Parameters<typeof site.send>[0]) => {
    const { text, rawHeaders } = await site.send(sent)
    answers.push(text, rawHeaders.join('\n'))
  }

  await call({ body: chat(PROMPT) })
  await call({ body: chat(PROMPT, { model: 'gpt-5' }) })
  await call({ body: chat(`${PROMPT} project zeus`) })
  await call({ body: `{"model":"gpt-4o","model":"${PROMPT}"}` })
  await call({ body: chat(PROMPT), key: wrong })
  await call({ body: chat(PROMPT), key: UPSTREAM_KEY })
  await call({ path: `/v1/chat/completions?api_key=${secret}`, body: chat(PROMPT) })
  await call({ path: `/v1/${secret}`, body: chat(PROMPT) })
  await call({ path: `/${secret}`, body: chat(PROMPT) })
  await call({ body: chat(PROMPT), headers: { 'api-key': wrong } })
  await call({ method: 'DELETE', path: '/v1/models', headers: { cookie: secret } })
  for (const behaviour of [
    echoKey,
    stream([`data: {"x":"${UPSTREAM_KEY}"}\n\n`, 'data: [DONE]\n\n']),
  ]) {
    upstream.behaviour = behaviour
    await call({ body: chat(PROMPT) })
  }
  upstream.behaviour = (_received, response) => void response.socket?.destroy()
  await call({ body: chat(PROMPT) })
  const raw = await rawAnswer(site.url, `POST / HTTP/1.1\r\nauthorization: ${secret}\r\n x\r\n\r\n`)
  answers.push(raw.body, JSON.stringify(raw.headers))

  const metrics = (await send(site.adminUrl, { method: 'GET', path: '/metrics' })).text
  await site.governor.stop()
  const files = new Map(
    readdirSync(site.directory)
      .filter((name) => name !== 'governance.yaml')
      .map((name) => [name, readFileSync(join(site.directory, name)).toString('latin1')]),
  )
  t.ok(files.has('audit.db') && files.has('keys.db'), [...files.keys()].join(' '))
  const written = [
    ['answers', answers.join('\n')],
    ['the log', site.logLines.join('\n')],
    ['metrics', metrics],
    ...files,
  ] as const
  for (const [name, text] of written) {
    for (const [what, found] of [
      ['the secret of a key', secret],
      ['the secret of a wrong key', wrong.split('.')[1]!],
      ['our credential', UPSTREAM_KEY],
      ['the prompt', PROMPT],
    ] as const) {
      t.notOk(text.includes(found), `${what} is not in ${name}`)
    }
    t.equal(text.includes(SAID), name === 'answers', `what the model said, in ${name}`)
  }
  t.match(upstream.everything, UPSTREAM_KEY, 'the upstream alone gets the credential')
  t.notOk(upstream.everything.includes(secret))
})

t.test('a key in a header that is passed on stays here', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const [, secret] = site.key.split('.') as [string, string]
  const names = ['idempotency-key', 'user-agent', 'x-stainless-a', 'accept', 'openai-beta']
  const headers = Object.fromEntries(
    names.map((name, index) => [name, index % 2 ? secret : site.key]),
  )
  t.equal((await site.send({ body: chat('hi'), headers })).status, 200)
  t.equal(upstream.received.length, 1)
  t.notOk(upstream.everything.includes(secret))
})

t.test('a credential that is no secret is not cut out of answers', async (t) => {
  const echo = await startGovernor(t)
  t.match((await echo.send({ body: chat('none of it') })).text, /echo: none of it/)
  const upstream = await FakeUpstream.start(t, answer({ id: 'a', model: 'm', said: 'yesterday' }))
  const site = await startGovernor(t, { upstream: upstream.url, credential: "'${SHORT:-y}'" })
  const { status, text } = await site.send({ body: chat('when') })
  t.equal(status, 200)
  t.match(text, /yesterday/)
})
