import t from 'tap'

import { findAzure } from '../../src/config/resolve-azure-chain.ts'

const CLIENT = { AZURE_TENANT_ID: 'tenant-1', AZURE_CLIENT_ID: 'client-1' }
const SECRET = { ...CLIENT, AZURE_CLIENT_SECRET: 'hunter2' }
const POD = { ...CLIENT, AZURE_FEDERATED_TOKEN_FILE: '/token' }
const SITE = {
  IDENTITY_ENDPOINT: 'http://169.254.130.3:8081/msi/token',
  IDENTITY_HEADER: 'hunter2',
}

function kindOf(env: Readonly<Record<string, string>>): string {
  const found = findAzure('chain', env)
  return 'wrong' in found ? 'none' : found.kind
}

t.test('findAzure() takes a secret, then a workload identity, then the machine’s', async (t) => {
  t.equal(kindOf({ ...SITE, ...POD, ...SECRET }), 'client_secret')
  t.equal(kindOf({ ...SITE, ...POD }), 'workload_identity')
  t.equal(kindOf(SITE), 'app_service')
  t.equal(kindOf({}), 'instance')
  t.equal(kindOf({ AZURE_CLIENT_SECRET: 'hunter2' }), 'instance', 'half a client is none')
  t.equal(kindOf({ ...SECRET, AZURE_TENANT_ID: ' ' }), 'instance')
})

t.test('findAzure() takes the way that is written, whatever else there is', async (t) => {
  const all = { ...SITE, ...POD, ...SECRET }
  const url = 'https://login.microsoftonline.com/tenant-1/oauth2/v2.0/token'
  t.strictSame(findAzure('client_secret', all), {
    kind: 'client_secret',
    url,
    clientId: 'client-1',
    clientSecret: 'hunter2',
  })
  t.strictSame(findAzure('workload_identity', all), {
    kind: 'workload_identity',
    url,
    clientId: 'client-1',
    tokenFile: '/token',
  })
  t.strictSame(findAzure('managed_identity', all), {
    kind: 'app_service',
    url: SITE.IDENTITY_ENDPOINT,
    header: 'hunter2',
    clientId: 'client-1',
  })
  t.strictSame(findAzure('managed_identity', {}), {
    kind: 'instance',
    url: 'http://169.254.169.254/metadata/identity/oauth2/token',
    clientId: null,
  })
  for (const way of ['client_secret', 'workload_identity'] as const) {
    t.match(findAzure(way, SITE), { wrong: /^Found no client: set AZURE_TENANT_ID/ }, way)
  }
})

t.test('findAzure() sends nothing in the clear to another host, and shows no value', async (t) => {
  for (const url of [
    'http://login.example',
    'https://u:hunter2@a.example',
    'hunter2',
    'file:///a',
  ]) {
    for (const found of [
      findAzure('chain', { ...SECRET, AZURE_AUTHORITY_HOST: url }),
      findAzure('chain', { ...SITE, IDENTITY_ENDPOINT: url }),
      findAzure('chain', { AZURE_POD_IDENTITY_AUTHORITY_HOST: url }),
    ]) {
      t.match(found, { wrong: /^(AZURE|IDENTITY)_\w+ is n/ }, url)
      t.notMatch(JSON.stringify(found), /hunter2/)
    }
  }
  const wrong = findAzure('chain', { ...SECRET, AZURE_TENANT_ID: '../hunter2' })
  t.match(wrong, { wrong: 'AZURE_TENANT_ID is neither an id nor a domain' })
})
