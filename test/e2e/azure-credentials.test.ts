import { join } from 'node:path'

import t from 'tap'

import { fetchAzure } from '../../src/upstream/azure-token.ts'
import { chat } from '../support/client.ts'
import { ConnectProxy } from '../support/connect-proxy.ts'
import { answer, type Behaviour, echoKey, FakeUpstream } from '../support/fake-upstream.ts'
import { configText, InProcess } from '../support/start-governor.ts'

/**
 * Goal: `azure: { credentials: … }` sends a token of Entra ID, got by what Azure puts into the environment.
 * Method: an environment of the test's own, and real servers for Entra ID and the machine's identity.
 */

const POLICIES = `[{ id: everything, allow: { operations: ['*'], models: ['*'] } }]`
const TOKEN = 'eyJ0eXAi.the-first-token.sig'
const GOOD = { token_type: 'Bearer', expires_in: 3599, access_token: TOKEN }

type Test = Parameters<typeof FakeUpstream.start>[0] & {
  testdir(files: Readonly<Record<string, string>>): string
}
type Env = Readonly<Record<string, string>>

interface Given {
  readonly env: Env
  readonly azure?: string
  readonly more?: string
  readonly behaviour?: Behaviour
}

interface Parts {
  readonly model: FakeUpstream
  readonly site: InProcess
}

/** A running Governor in an environment; `TOKEN_FILE` in it stands for a file with a token. */
async function start(t: Test, { env: given, azure = 'chain', more = '', behaviour }: Given) {
  const model = await FakeUpstream.start(t, behaviour ?? answer())
  const folder = t.testdir({ token: 'the-federated-token\n' })
  const env = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [
      name,
      value === 'TOKEN_FILE' ? join(folder, 'token') : value,
    ]),
  )
  const text = configText({
    upstream: model.url,
    dialect: 'azure-openai',
    policies: POLICIES,
    more: `azure: { credentials: ${azure} }${more}`,
  }).replace(/ credential: [^,]*,/, '')
  const site = new InProcess(folder, text, { ...env, UPSTREAM_KEY: 'x' })
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  return { model, site }
}

function call({ site }: Parts) {
  return site.send({ path: '/openai/v1/chat/completions', body: chat('hi') })
}

const CLIENT = { AZURE_TENANT_ID: 'tenant-1', AZURE_CLIENT_ID: 'client-1' }
const SCOPE = 'https://cognitiveservices.azure.com/.default'

t.test('a client with a secret gets a token from Entra ID, through the proxy', async (t) => {
  const entra = await FakeUpstream.start(t, answer(GOOD))
  const proxy = await ConnectProxy.start(t)
  const secret = 'the-secret-of-the-client'
  const parts = await start(t, {
    env: { ...CLIENT, AZURE_CLIENT_SECRET: secret, AZURE_AUTHORITY_HOST: `${entra.url}/` },
    more: `, proxy: { url: '${proxy.url}' }`,
  })
  t.equal((await call(parts)).status, 200)
  t.equal((await call(parts)).status, 200)
  const { headers } = parts.model.last!
  t.equal(headers.authorization, `Bearer ${TOKEN}`)
  t.equal(headers['api-key'], undefined)
  t.equal(entra.received.length, 1, 'asked once, not by each call')
  t.match(entra.last, { method: 'POST', path: '/tenant-1/oauth2/v2.0/token' })
  t.strictSame(Object.fromEntries(new URLSearchParams(entra.last!.body.toString())), {
    grant_type: 'client_credentials',
    client_id: 'client-1',
    scope: SCOPE,
    client_secret: secret,
  })
  t.strictSame(
    proxy.asked.map(({ target }) => target),
    [entra.url, parts.model.url].map((url) => new URL(url).host),
  )
  await parts.site.governor.reload(parts.site.load())
  t.equal((await call(parts)).status, 200)
  t.equal(entra.received.length, 1, 'a reload keeps what was fetched')
  const said = [...parts.site.logLines, JSON.stringify(parts.site.entries())].join()
  t.notMatch(said, new RegExp(`${secret}|the-first-token`))
})

t.test(
  'a pod changes its federated token into one, and its answers are cleaned of it',
  async (t) => {
    const entra = await FakeUpstream.start(t, answer(GOOD))
    const parts = await start(t, {
      env: {
        ...CLIENT,
        AZURE_FEDERATED_TOKEN_FILE: 'TOKEN_FILE',
        AZURE_AUTHORITY_HOST: entra.url,
      },
      behaviour: echoKey,
    })
    const refused = await call(parts)
    t.equal(refused.status, 401)
    t.match(refused.json.error, { message: 'Incorrect API key provided: Bearer [redacted]' })
    const asked = Object.fromEntries(new URLSearchParams(entra.last!.body.toString()))
    t.strictSame(asked, {
      grant_type: 'client_credentials',
      client_id: 'client-1',
      scope: SCOPE,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: 'the-federated-token',
    })
  },
)

const RESOURCE = 'resource=https%3A%2F%2Fcognitiveservices.azure.com'

t.test('the identity of a machine is asked for straight, as its place wants it', async (t) => {
  const { access_token } = GOOD
  const machine = await FakeUpstream.start(t, answer({ ...GOOD, expires_in: '3599' }))
  const proxy = await ConnectProxy.start(t)
  const more = `, proxy: { url: '${proxy.url}' }`
  const instance = await start(t, { env: { AZURE_POD_IDENTITY_AUTHORITY_HOST: machine.url }, more })
  t.equal((await call(instance)).status, 200)
  t.equal(machine.last?.path, `/metadata/identity/oauth2/token?api-version=2018-02-01&${RESOURCE}`)
  t.equal(machine.last?.headers['metadata'], 'true')
  t.equal(proxy.asked.length, 1)
  await instance.site.governor.stop(0)

  machine.behaviour = answer({ access_token, expires_on: '2500000000' })
  const site = await start(t, {
    env: {
      IDENTITY_ENDPOINT: `${machine.url}/msi/token`,
      IDENTITY_HEADER: 'hunter2',
      AZURE_CLIENT_ID: 'one-of-several',
    },
    azure: 'managed_identity, scope: https://ai.azure.com/.default',
  })
  t.equal((await call(site)).status, 200)
  t.equal(site.model.last?.headers.authorization, `Bearer ${TOKEN}`)
  const resource = 'resource=https%3A%2F%2Fai.azure.com'
  const path = `/msi/token?api-version=2019-08-01&${resource}&client_id=one-of-several`
  t.equal(machine.last?.path, path)
  t.equal(machine.last?.headers['x-identity-header'], 'hunter2')
})

const BAD: Readonly<Record<string, unknown>> = {
  'no JSON': 'none',
  'a list': [],
  'no token': { expires_in: 3599 },
  'no end': { access_token: TOKEN },
  'a line break in a token': { ...GOOD, access_token: 'a\r\nx-evil: b' },
  'an end that is no number': { ...GOOD, expires_in: '0x10' },
}

t.test('without a token calls get 503, and the log says why without the answer', async (t) => {
  const machine = await FakeUpstream.start(t, answer('hunter2', { status: 400 }))
  const env = { AZURE_POD_IDENTITY_AUTHORITY_HOST: machine.url }
  const parts = await start(t, { env })
  const refused = await call(parts)
  t.equal(refused.status, 503)
  t.equal(refused.headers['x-governor-code'], 'UPSTREAM_KEYS_MISSING')
  t.equal(parts.model.received.length, 0)
  const [line = ''] = parts.site.logLines.filter((each) => each.includes('token of Azure'))
  t.match(line, /"upstream":"up","reason":"answered 400"/)
  t.notMatch(parts.site.logLines.join(), /hunter2/)
})

t.test('answers that hold no token, or none that is good, are none', async (t) => {
  const chain = { kind: 'instance', url: 'http://127.0.0.1/', clientId: null } as const
  const fetch = (value: unknown) =>
    fetchAzure({ chain, scope: SCOPE }, () => {
      return Promise.resolve(typeof value === 'string' ? value : JSON.stringify(value))
    })
  t.match(await fetch(GOOD), { secret: TOKEN })
  for (const [name, value] of Object.entries(BAD)) {
    await t.rejects(fetch(value), { message: 'the answer holds no token' }, name)
  }
})
