import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { createLog, silentLog } from '../../src/log.ts'
import { fetchAws } from '../../src/upstream/aws-keys.ts'
import { FetchedKeys, renewalMs } from '../../src/upstream/fetched-keys.ts'
import { ConnectProxy } from '../support/connect-proxy.ts'
import {
  answer,
  type Behaviour,
  FakeUpstream,
  type Received,
  redirect,
} from '../support/fake-upstream.ts'
import { configText, InProcess } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: `credentials: chain` signs with what AWS puts into the environment, or lets be fetched. Method: an
 * environment of the test's own, and real servers for STS and for the endpoint of a container.
 */

const CONVERSED = {
  output: { message: { role: 'assistant', content: [{ text: 'hello there' }] } },
  stopReason: 'end_turn',
  usage: { inputTokens: 3, outputTokens: 2, totalTokens: 5 },
}
const POLICIES = `[{ id: everything, allow: { operations: ['*'], models: ['*'] } }]`
const ROLE = 'arn:aws:iam::123456789012:role/models'

type Test = Parameters<typeof FakeUpstream.start>[0] & {
  testdir(files: Readonly<Record<string, string>>): string
}
type Env = Readonly<Record<string, string>>

interface Parts {
  readonly bedrock: FakeUpstream
  readonly site: InProcess
}

/** A running Governor in an environment; `TOKEN_FILE` in it stands for a file with a token. */
async function start(t: Test, given: Env, more = ''): Promise<Parts> {
  const bedrock = await FakeUpstream.start(t, answer(CONVERSED))
  const folder = t.testdir({ token: 'the-identity\n' })
  const env = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [
      name,
      value === 'TOKEN_FILE' ? join(folder, 'token') : value,
    ]),
  )
  const text = configText({
    upstream: bedrock.url,
    dialect: 'bedrock',
    policies: POLICIES,
    more: `aws: { region: eu-central-1, credentials: chain }${more}`,
  }).replace(/ credential: [^,]*,/, '')
  const site = new InProcess(folder, text, { ...env, UPSTREAM_KEY: 'x' })
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  return { bedrock, site }
}

function call({ site }: Parts) {
  const body = { messages: [{ role: 'user', content: [{ text: 'hi' }] }] }
  return site.send({ path: '/model/anthropic.claude-3-haiku-20240307-v1:0/converse', body })
}

/** Who signed a request, and its session token. */
function signedBy({ headers }: Received): readonly unknown[] {
  const id = /Credential=([^/]+)\/\d+\/eu-central-1\//.exec(headers.authorization ?? '')?.[1]
  return [id, headers['x-amz-security-token']]
}

const inMs = (ms: number) => new Date(Date.parse('2049-01-01T00:00:00Z') + ms).toISOString()

/** By the real clock. */
function soon(): string {
  return new Date(performance.timeOrigin + performance.now() + 12_000).toISOString()
}

function keys(id: string, end = inMs(0)) {
  return { AccessKeyId: id, SecretAccessKey: 'secret', Token: `token-${id}`, Expiration: end }
}

function sts(id: string, end = inMs(0)): string {
  const { AccessKeyId, SecretAccessKey, Token } = keys(id)
  return `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult><Credentials>
    <SessionToken>${Token}</SessionToken><SecretAccessKey>${SecretAccessKey}</SecretAccessKey>
    <Expiration>${end}</Expiration><AccessKeyId>${AccessKeyId}</AccessKeyId>
  </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`
}

t.test('keys in the environment sign', async (t) => {
  const parts = await start(t, {
    AWS_ACCESS_KEY_ID: 'AKIAENV',
    AWS_SECRET_ACCESS_KEY: 'secret-of-the-environment',
    AWS_SESSION_TOKEN: 'session',
  })
  t.equal((await call(parts)).status, 200)
  t.strictSame(signedBy(parts.bedrock.last!), ['AKIAENV', 'session'])
})

t.test('a web identity is changed into keys by STS, through the proxy', async (t) => {
  const service = await FakeUpstream.start(t, answer(sts('ASIAROLE')))
  const proxy = await ConnectProxy.start(t)
  const env = {
    AWS_ROLE_ARN: ROLE,
    AWS_WEB_IDENTITY_TOKEN_FILE: 'TOKEN_FILE',
    AWS_ROLE_SESSION_NAME: 'pod-1',
    AWS_ENDPOINT_URL_STS: service.url,
  }
  const parts = await start(t, env, `, proxy: { url: '${proxy.url}' }`)
  t.equal((await call(parts)).status, 200)
  t.equal((await call(parts)).status, 200)
  t.strictSame(signedBy(parts.bedrock.last!), ['ASIAROLE', 'token-ASIAROLE'])
  t.equal(service.received.length, 1, 'asked once, not by each call')
  t.strictSame(Object.fromEntries(new URLSearchParams(service.last!.body.toString())), {
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: ROLE,
    RoleSessionName: 'pod-1',
    WebIdentityToken: 'the-identity',
  })
  t.strictSame(
    proxy.asked.map(({ target }) => target),
    [service.url, parts.bedrock.url].map((url) => new URL(url).host),
  )
})

t.test('the endpoint of a container is asked straight, with its token', async (t) => {
  const service = await FakeUpstream.start(t, answer(keys('ASIAPOD')))
  const proxy = await ConnectProxy.start(t)
  const env = {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${service.url}/v1/credentials`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: 'TOKEN_FILE',
  }
  const parts = await start(t, env, `, proxy: { url: '${proxy.url}' }`)
  t.equal((await call(parts)).status, 200)
  t.strictSame(signedBy(parts.bedrock.last!), ['ASIAPOD', 'token-ASIAPOD'])
  t.match(service.last, { method: 'GET', path: '/v1/credentials' })
  t.equal(service.last?.headers.authorization, 'the-identity')
  t.equal(proxy.asked.length, 1)
  await parts.site.governor.reload(parts.site.load())
  t.equal((await call(parts)).status, 200)
  t.equal(service.received.length, 1, 'a reload keeps what was fetched')
})

t.test('without credentials calls get 503 until there are some', async (t) => {
  const service = await FakeUpstream.start(t, answer('<Error>hunter2</Error>', { status: 403 }))
  const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: service.url }
  const parts = await start(t, env)
  const refused = await call(parts)
  t.equal(refused.status, 503)
  t.equal(refused.headers['x-governor-code'], 'UPSTREAM_KEYS_MISSING')
  t.equal(parts.bedrock.received.length, 0)
  const [line = ''] = parts.site.logLines.filter((each) => each.includes('AWS credentials'))
  t.match(line, /"upstream":"up","reason":"answered 403"/)
  t.notMatch(line, /hunter2/)
  service.behaviour = answer(keys('ASIALATE'))
  await until('them to be fetched', async () => (await call(parts)).status === 200, 60_000)
  t.strictSame(signedBy(parts.bedrock.last!), ['ASIALATE', 'token-ASIALATE'])
})

/** The metadata service of an instance, version 2, whose role has the keys of `id`. */
function instance(id: () => string, end = inMs(0)): Behaviour {
  return ({ method, path, headers }, response) => {
    const isKnown = headers['x-aws-ec2-metadata-token'] === 'session-token'
    if (method === 'PUT' && path === '/latest/api/token') response.end('session-token')
    else if (!isKnown || method !== 'GET') response.writeHead(401).end()
    else if (path.endsWith('/security-credentials/')) response.end('models-role\n')
    else if (path.endsWith('/security-credentials/models-role')) {
      response.end(JSON.stringify({ Code: 'Success', ...keys(id(), end) }))
    } else response.writeHead(404).end()
  }
}

t.test('an instance is asked for its role, by a session of version 2, and straight', async (t) => {
  const service = await FakeUpstream.start(
    t,
    instance(() => 'ASIAEC2'),
  )
  const proxy = await ConnectProxy.start(t)
  const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url }
  const parts = await start(t, env, `, proxy: { url: '${proxy.url}' }`)
  t.equal((await call(parts)).status, 200)
  t.strictSame(signedBy(parts.bedrock.last!), ['ASIAEC2', 'token-ASIAEC2'])
  t.equal(proxy.asked.length, 1)
  t.strictSame(
    service.received.map(({ method, path, headers }) => [
      method,
      path,
      headers['x-aws-ec2-metadata-token-ttl-seconds'],
    ]),
    [
      ['PUT', '/latest/api/token', '60'],
      ['GET', '/latest/meta-data/iam/security-credentials/', undefined],
      ['GET', '/latest/meta-data/iam/security-credentials/models-role', undefined],
    ],
  )
})

const NO_INSTANCE: Readonly<Record<string, { behaviour: Behaviour; reason: string }>> = {
  'that wants no session': {
    behaviour: ({ method }, response) => {
      response.writeHead(method === 'PUT' ? 403 : 200).end(JSON.stringify(keys('ASIAOLD')))
    },
    reason: 'answered 403',
  },
  'without a role': {
    behaviour: ({ method }, response) => {
      response.writeHead(method === 'PUT' ? 200 : 404).end('session-token')
    },
    reason: 'answered 404',
  },
  'whose role is a path': {
    behaviour: ({ method }, response) => {
      response.end(method === 'PUT' ? 'session-token' : '../../user-data')
    },
    reason: 'the instance has no role',
  },
  'whose session is no token': {
    behaviour: (_received, response) => void response.end('a\nb'),
    reason: 'the instance metadata service gave no token',
  },
  'that redirects': {
    behaviour: redirect('http://127.0.0.1:1/'),
    reason: 'answered 307',
  },
  'that cuts the connection, as where too many hops are between': {
    behaviour: (_received, response) => void response.socket?.destroy(),
    reason: 'no answer from the instance metadata service',
  },
}

t.test('an instance that gives no keys is told in the log', async (t) => {
  for (const [name, { behaviour, reason }] of Object.entries(NO_INSTANCE)) {
    const { url } = await FakeUpstream.start(t, behaviour)
    const lines: string[] = []
    const log = createLog('warn', { write: (line) => void lines.push(line) })
    const fetch = fetchAws.bind(null, { kind: 'instance', url })
    const fetched = new FetchedKeys({
      name: 'up',
      what: 'keys',
      connectorTo: () => null,
      log,
      fetch,
    })
    await fetched.tried
    await fetched.destroy()
    t.equal(fetched.current(0), null, name)
    t.match(lines.join(), `"reason":"${reason}`, name)
  }
})

const BAD: Readonly<Record<string, unknown>> = {
  'no JSON': 'none',
  'a list': [],
  'no end': { ...keys('ASIA'), Expiration: 'soon' },
  'an end that was': keys('ASIA', '2020-01-01T00:00:00Z'),
  'a line break in a token': { ...keys('ASIA'), Token: 'a\r\nx-evil: b' },
  'too much': { ...keys('ASIA'), more: 'x'.repeat(70_000) },
}

t.test('answers that are no credentials are none', async (t) => {
  for (const [name, value] of Object.entries(BAD)) {
    await t.test(name, async (t) => {
      const service = await FakeUpstream.start(t, answer(value))
      const parts = await start(t, { AWS_CONTAINER_CREDENTIALS_FULL_URI: service.url })
      t.equal((await call(parts)).status, 503)
    })
  }
})

t.test('credentials that end soon are fetched anew, with the token as it is then', async (t) => {
  let count = 0
  const service = await FakeUpstream.start(t, (received, response) => {
    count += 1
    if (count === 2) t.match(received.body.toString(), /WebIdentityToken=the-next-identity/)
    writeFileSync(join(t.testdirName, 'token'), 'the-next-identity')
    return answer(sts(`ASIA${count}`, count === 1 ? soon() : inMs(0)))(received, response)
  })
  const parts = await start(t, {
    AWS_ROLE_ARN: ROLE,
    AWS_WEB_IDENTITY_TOKEN_FILE: 'TOKEN_FILE',
    AWS_ENDPOINT_URL_STS: service.url,
  })
  await until('the next', () => service.received.length === 2, 60_000)
  await until('their use', async () => {
    await call(parts)
    return signedBy(parts.bedrock.last!)[0] === 'ASIA2'
  })
})

t.test('while nothing can be fetched the last keys are good until their end', async (t) => {
  const endMs = performance.timeOrigin + performance.now() + 4_000
  let fetches = 0
  const fetched = new FetchedKeys({
    name: 'up',
    what: 'keys',
    connectorTo: () => null,
    log: silentLog,
    fetch: () => {
      fetches += 1
      if (fetches > 1) return Promise.reject(new Error('away'))
      return Promise.resolve({ endMs, id: 'first' })
    },
  })
  t.teardown(() => fetched.destroy())
  await fetched.tried
  await until('a renewal to fail', () => fetches > 1)
  t.strictSame(fetched.current(endMs - 1), { endMs, id: 'first' })
  t.equal(fetched.current(endMs), null)
})

t.test('renewalMs() is five minutes before the end, and never at once or in a day', async (t) => {
  const minute = 60_000
  t.strictSame(
    [60, 11, 10, 1, 0.01, -5, 36 * 60].map((minutes) => renewalMs(minutes * minute) / minute),
    [55, 6, 5, 0.5, 1 / 30, 1 / 30, 60],
  )
})
