import { createServer, type Server } from 'node:net'
import type { AddressInfo } from 'node:net'

import t from 'tap'

import { chat } from '../support/client.ts'
import { findJane, OPEN, PERSON, presidio, started, told } from '../support/detector-services.ts'
import { answer, type Behaviour, hangBeforeHeaders, redirect } from '../support/fake-upstream.ts'
import { configText, startGovernor, writeConfig } from '../support/start-governor.ts'

/**
 * Goal: a service that fails refuses, and nobody is asked in vain. Method: servers that speak Presidio's and OpenAI's
 * formats, behind the running proxy.
 */

const BROKEN: Readonly<Record<string, readonly [Behaviour, string]>> = {
  'answers 500': [answer({ error: 'x' }, { status: 500 }), 'presidio answered 500'],
  redirects: [redirect('http://127.0.0.1:1/'), 'presidio answered 307'],
  'answers no JSON': [answer('<html>'), 'presidio answered something else: it is no JSON'],
  'answers an object': [answer({}), 'presidio answered something else: a list is missing'],
  'answers null': [answer('null'), 'presidio answered something else: a list is missing'],
  'answers places that are none': [
    answer([{ entity_type: 'PERSON', start: -1, end: 4, score: 1 }]),
    'presidio answered something else: a place is none',
  ],
  'answers without a score': [
    answer([{ entity_type: 'PERSON', start: 0, end: 4 }]),
    'presidio answered something else: a number is missing',
  ],
  'answers too much': [
    answer(`[${' '.repeat(2 * 1024 * 1024)}]`),
    'presidio answered with more than 1048576 bytes',
  ],
  'says nothing': [hangBeforeHeaders, 'presidio did not answer within 300 ms'],
  'stops in the middle': [
    (_received, response) => void response.writeHead(200).write('['),
    'presidio did not answer within 300 ms',
  ],
  'breaks off': [
    (_received, response) => void response.writeHead(200).write('[', () => response.destroy()),
    'presidio cannot be reached',
  ],
}

t.test('a service that breaks its format refuses, and the entry says why', async (t) => {
  const { service, site } = await started(t, findJane, { more: ', timeout: 300ms' })
  for (const [name, [behaviour, why]] of Object.entries(BROKEN)) {
    service.behaviour = behaviour
    t.strictSame(
      await told(site, `It ${name}`),
      {
        status: 403,
        message: 'Policy denied this request: Policy "person" cannot be checked now',
        said: `error: input.detect: ${why}`,
        detected: undefined,
      },
      name,
    )
    service.behaviour = findJane
    t.same((await told(site, `It ${name}`)).status, 200, 'a failure is not remembered')
  }
})

t.test('a port nobody listens on refuses, or not, as on_error says', async (t) => {
  const server: Server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const url = `http://127.0.0.1:${port}`
  const closed = await startGovernor(t, { policies: PERSON, detectors: presidio(url) })
  t.match(await told(closed, 'Hello'), {
    status: 403,
    said: 'error: input.detect: presidio cannot be reached',
  })
  writeConfig(
    closed.file,
    configText({ policies: PERSON, detectors: presidio(url, ', on_error: allow') }),
  )
  await closed.governor.reload(closed.load())
  t.match(await told(closed, 'Hello'), {
    status: 200,
    said: 'error: input.detect: presidio cannot be reached',
  })
})

t.test('nobody is asked where the answer cannot matter', async (t) => {
  const policies = `${OPEN}
  - { id: codename, deny: { input: { words: [zeus] } } }
  - { id: either, deny: { input: { detect: [email, presidio] } } }
  - { id: interns, for: { roles: [intern] }, deny: { input: { detect: [presidio] } } }`
  const { service, site } = await started(t, findJane, { policies })
  t.match(await told(site, 'Jane Doe and zeus', 'either'), {
    status: 403,
    said: 'skipped: input.detect: not asked, the call is refused anyway',
  })
  t.match(await told(site, 'mail a@example.com', 'either'), {
    status: 403,
    said: 'denied: input.detect: email',
  })
  const { status } = await site.send({ body: chat('Jane Doe', { model: 'gpt-5' }) })
  t.same([status, service.received.length], [403, 0], 'nothing allows it')
  t.match(await told(site, 'Jane Doe', 'interns'), { status: 403, said: null })
})

t.test('an allow and a require may depend on a service', async (t) => {
  const policies = `
  - { id: named, allow: { input: { detect: [presidio] } } }
  - { id: must, for: { labels: { x: y } }, require: { input: { detect: [presidio] } } }`
  const { service, site } = await started(t, findJane, { policies })
  t.match(await told(site, 'Jane Doe', 'named'), {
    status: 200,
    said: 'allowed: input.detect: presidio',
  })
  t.match(await told(site, 'nobody', 'named'), { status: 403, said: null })
  service.behaviour = answer('no')
  t.match(await told(site, 'new Jane Doe', 'named'), {
    status: 403,
    said: 'error: input.detect: presidio answered something else: it is no JSON',
  })
})
