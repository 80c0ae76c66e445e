import { writeFileSync } from 'node:fs'
import { Agent, request as httpsRequest } from 'node:https'
import { join } from 'node:path'

import t, { type Test } from 'tap'

import { Authority, type CertificateSpec, type Pair } from '../support/certificates.ts'
import { chat, send } from '../support/client.ts'
import { configText, InProcess } from '../support/start-governor.ts'

/** Goal: the proxy speaks TLS, and the certificate of a client is as good as a key. */

interface Called {
  readonly cert?: Pair
  readonly key?: string
  readonly ca: string
  readonly agent?: Agent
}

interface Heard {
  readonly status: number
  readonly code: string
  readonly requestId: string
}

/** One call over TLS; status 0 where there was no connection. */
function call(site: InProcess, { cert, key, ca, agent }: Called): Promise<Heard> {
  const body = JSON.stringify(chat('hi'))
  return new Promise((resolve) => {
    const request = httpsRequest(
      {
        host: '127.0.0.1',
        port: site.governor.proxy.port,
        method: 'POST',
        path: '/v1/chat/completions',
        ca,
        agent: agent ?? false,
        ...cert,
        ...(cert !== undefined && { cert: cert.cert, key: cert.key }),
        headers: {
          'content-type': 'application/json',
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
        },
      },
      (response) => {
        response.resume()
        response.on('end', () => {
          const { 'x-governor-code': code, 'x-governor-request-id': id } = response.headers
          const status = response.statusCode ?? 0
          resolve({ status, code: String(code ?? 'ok'), requestId: String(id) })
        })
      },
    )
    request.on('error', () => resolve({ status: 0, code: 'no connection', requestId: '' }))
    request.end(body)
  })
}

async function start(t: Test, { auth = '', clientAuth = 'optional', policies = '' } = {}) {
  const authority = new Authority('Server authority')
  const clients = new Authority('Client authority')
  const server = authority.issue({ subject: { CN: 'proxy' }, ips: ['127.0.0.1'] })
  const directory = t.testdir({
    'cert.pem': server.cert,
    'key.pem': server.key,
    'clients.pem': clients.cert,
  })
  const tls = `{ cert_file: cert.pem, key_file: key.pem, client_ca_file: clients.pem, client_auth: ${clientAuth} }`
  const text = configText({
    listen: `{ proxy: '127.0.0.1:0', admin: '127.0.0.1:0', tls: ${tls} }`,
    ...(policies !== '' && { policies }),
  })
  const site = new InProcess(directory, text.replace('auth:\n', `auth:\n${auth}`))
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const ca = authority.cert
  const issue = (spec: CertificateSpec) => clients.issue(spec)
  return { site, ca, issue, directory, authority }
}

const AUTH = '  certificate: { tenant_from: subject.O, user_from: san.uri, roles: [service] }\n'
const ANN = { subject: { CN: 'ann', O: 'acme' }, uris: ['spiffe://acme/ann'] }

t.test('a client certificate is a caller, by what the configuration reads of it', async (t) => {
  const policies = `
  - id: services
    allow: { tenants: [acme], roles: [service], keys: [certificate], when: 'caller.via == "certificate"' }`
  const { site, ca, issue } = await start(t, { auth: AUTH, policies })
  const heard = await call(site, { ca, cert: issue(ANN) })
  t.equal(heard.status, 200, heard.code)
  const again = await call(site, { ca, cert: issue(ANN) })
  const bodyOf = async ({ requestId }: Heard) => (await site.entriesOf(requestId, 1))[0]!.body
  const [first, second] = [await bodyOf(heard), await bodyOf(again)]
  const { tenant, user, roles, via } = first
  t.strictSame(
    { tenant, user, roles, via },
    { tenant: 'acme', user: 'spiffe://acme/ann', roles: ['service'], via: 'certificate' },
  )
  t.match(first['key_id'], /^cert:[0-9a-f]{32}$/)
  t.equal(first['key_id'], second['key_id'], 'a renewed certificate is the same caller')
})

t.test('keys win, and a certificate that names nobody is refused', async (t) => {
  const { site, ca, issue } = await start(t, { auth: AUTH })
  const stranger = new Authority().issue(ANN)
  const { key } = site
  const codeOf = async (called: Omit<Called, 'ca'>) => {
    const { status, code } = await call(site, { ca, ...called })
    return `${status} ${code}`
  }
  const refused = '401 AUTH_CERTIFICATE_INVALID'
  t.equal(await codeOf({ key }), '200 ok', 'a key without a certificate')
  t.equal(await codeOf({}), '401 AUTH_KEY_MISSING')
  t.equal(await codeOf({ cert: stranger }), refused, 'of an authority nobody trusts')
  t.equal(await codeOf({ cert: stranger, key }), '200 ok', 'a key beside it wins')
  t.equal(await codeOf({ cert: issue(ANN), key: `${key.slice(0, -3)}abc` }), '401 AUTH_KEY_INVALID')
  t.equal(await codeOf({ cert: issue(ANN), key: 'sk-other' }), '200 ok', 'others are dropped')
  const { subject, uris } = ANN
  t.equal(await codeOf({ cert: issue({ subject: { CN: 'x' }, uris }) }), refused, 'no O')
  t.equal(await codeOf({ cert: issue({ subject }) }), refused, 'no URI')
  t.equal(await codeOf({ cert: issue({ subject, uris: [...uris, 'spiffe://b'] }) }), refused, 'two')
  const tricky = issue({ subject, dns: ['a, URI:spiffe://acme/root'] })
  t.equal(await codeOf({ cert: tricky }), refused, 'a name that looks like another entry')
  const ended = issue({ ...ANN, notAfter: new Date('2021-01-01') })
  t.equal(await codeOf({ cert: ended }), refused, 'one that has expired')
  const plain = await send(`http://127.0.0.1:${site.governor.proxy.port}`, {
    body: chat('hi'),
  }).then(
    ({ status }) => status,
    () => 'no answer',
  )
  t.equal(plain, 'no answer', 'nothing is said without TLS')
  t.equal(await codeOf({ key }), '200 ok')
})

t.test('where a certificate is required nobody else is heard', async (t) => {
  const { site, ca, issue } = await start(t, { clientAuth: 'required' })
  const { key } = site
  t.equal((await call(site, { ca, key })).status, 0, 'no certificate')
  t.equal(
    (await call(site, { ca, key, cert: new Authority().issue(ANN) })).status,
    0,
    'a wrong one',
  )
  t.equal((await call(site, { ca, key, cert: issue(ANN) })).status, 200)
  const { code } = await call(site, { ca, cert: issue(ANN) })
  t.equal(code, 'AUTH_KEY_MISSING', 'it is no key where auth.certificate does not say so')
})

t.test('rotated files are taken without a restart', async (t) => {
  const { site, ca, issue, directory, authority } = await start(t, { auth: AUTH })
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca })
  t.teardown(() => agent.destroy())
  t.equal((await call(site, { ca, cert: issue(ANN), agent })).status, 200)
  const other = new Authority('Other server authority')
  const next = new Authority('Next clients')
  const pair = other.issue({ subject: { CN: 'proxy' }, ips: ['127.0.0.1'] })
  writeFileSync(join(directory, 'cert.pem'), pair.cert)
  t.throws(() => site.load(), /key_file {2}The key is not the one of the certificate/)
  writeFileSync(join(directory, 'key.pem'), pair.key)
  writeFileSync(join(directory, 'clients.pem'), next.cert)
  await site.governor.reload(site.load())
  t.equal((await call(site, { ca, cert: next.issue(ANN) })).status, 0, 'the former certificate')
  const { cert } = other
  t.equal((await call(site, { ca: cert, cert: next.issue(ANN) })).status, 200)
  const former = await call(site, { ca: cert, cert: issue(ANN) })
  t.equal(former.code, 'AUTH_CERTIFICATE_INVALID', 'clients of the former authority')
  t.not(authority.cert, cert)
})
