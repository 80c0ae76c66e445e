import t from 'tap'

import { printConfig } from '../../src/config/print.ts'
import type { Snapshot } from '../../src/config/snapshot.ts'
import { parseConfig } from '../../src/load-config.ts'
import { readCases } from './cases.ts'

function load(text: string): Snapshot {
  const DATABASE_URL = 'postgres://governor:hunter2@db.internal/audit?sslmode=verify-full'
  const env = {
    DATABASE_URL,
    KEY: 'sk-hunter2',
    PROXY_CREDENTIAL: 'governor:hunter2',
    LIMIT: '20',
    TENANT: 'no',
    HOSTILE: '*a: #',
    DOLLAR: 'on',
  }
  const loaded = parseConfig('governance.yaml', Buffer.from(text), { env, forRun: true })
  if (!loaded.ok) throw new Error(loaded.problems.map(({ message }) => message).join('\n'))
  return loaded.snapshot
}

t.test('printConfig() reads back to the same snapshot', async (t) => {
  for (const { name, yaml } of readCases().filter((each) => each.name.startsWith('ok-'))) {
    const snapshot = load(yaml)
    const printed = printConfig(snapshot)
      .replaceAll(/(proxy:\n +url: .*\n +credential: )"\*\*\*"/g, '$1${PROXY_CREDENTIAL}')
      .replaceAll('credential: "***"', 'credential: ${KEY}')
      .replaceAll(/\b(url|direct_url): "\*\*\*"/g, '$1: ${DATABASE_URL}')
      .replaceAll(/\b(password|sentinel_password): "\*\*\*"/g, '$1: ${KEY}')
      .replaceAll('postgres: "***"', 'postgres: ${DATABASE_URL}')
    const again = load(printed)
    const upstreams = snapshot.upstreams.map((upstream) => ({
      ...upstream,
      credential: upstream.credential && 'sk-hunter2',
    }))
    t.strictSame({ ...again, digest: '' }, { ...snapshot, upstreams, digest: '' }, name)
  }
})

t.test('printConfig() says where AWS credentials come from, and nothing of them', async (t) => {
  const text = `version: 1
upstreams:
  - { name: a, dialect: bedrock, url: "https://a.example", aws: { region: eu-central-1, credentials: chain } }
`
  const env = {
    AWS_ACCESS_KEY_ID: 'AKIAhunter2',
    AWS_SECRET_ACCESS_KEY: 'hunter2-hunter2',
    AWS_SESSION_TOKEN: 'hunter2',
  }
  const loaded = parseConfig('governance.yaml', Buffer.from(text), { env, forRun: true })
  const printed = loaded.ok ? printConfig(loaded.snapshot) : ''
  t.match(printed, /region: eu-central-1\n +credentials: chain\n/)
  t.notMatch(printed, /hunter2|credential:|\*\*\*/)
  const none = { AWS_EC2_METADATA_DISABLED: 'true' }
  const checked = parseConfig('governance.yaml', Buffer.from(text), { env: none, forRun: false })
  t.ok(checked.ok, 'a check does without them')
  const run = parseConfig('governance.yaml', Buffer.from(text), { env: none, forRun: true })
  t.match(run, { ok: false, problems: [{ path: 'upstreams[0].aws.credentials' }] })
})

t.test('printConfig() says how tokens of Azure are got, and no secret of that', async (t) => {
  const text = `version: 1
upstreams:
  - { name: a, dialect: azure-openai, url: "https://a.example", azure: { credentials: chain } }
`
  const env = { AZURE_TENANT_ID: 't', AZURE_CLIENT_ID: 'c', AZURE_CLIENT_SECRET: 'hunter2' }
  const loaded = parseConfig('governance.yaml', Buffer.from(text), { env, forRun: true })
  const printed = loaded.ok ? printConfig(loaded.snapshot) : ''
  const scope = 'https://cognitiveservices.azure.com/.default'
  t.match(printed, `azure:\n      credentials: chain\n      scope: ${scope}\n`)
  t.notMatch(printed, /hunter2|credential:|\*\*\*/)
})

t.test('printConfig() masks credentials', async (t) => {
  const printed = printConfig(
    load(`version: 1
upstreams:
  - name: a
    dialect: openai
    url: https://a
    credential: \${KEY}
    proxy: { url: "http://proxy", credential: "\${PROXY_CREDENTIAL}" }
`),
  )
  t.notMatch(printed, /hunter2/)
  t.equal(printed.match(/credential: "?\*\*\*"?\n/g)?.length, 2)
})
