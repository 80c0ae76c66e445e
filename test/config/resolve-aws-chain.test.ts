import t from 'tap'

import { findAws } from '../../src/config/resolve-aws-chain.ts'

const KEYS = { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'secret' }
const ROLE = { AWS_ROLE_ARN: 'arn:aws:iam::1:role/a', AWS_WEB_IDENTITY_TOKEN_FILE: '/token' }
const POD = {
  AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://169.254.170.23/v1/credentials',
  AWS_CONTAINER_AUTHORIZATION_TOKEN: 'unused',
  AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '/pod-token',
}
const TASK = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/credentials/1' }

function kindOf(env: Readonly<Record<string, string>>): string {
  const found = findAws(env, 'eu-central-1')
  return 'wrong' in found ? 'none' : found.chain.kind
}

t.test('findAws() takes keys, then a web identity, a container, the instance', async (t) => {
  t.equal(kindOf({ ...POD, ...ROLE, ...KEYS }), 'environment')
  t.equal(kindOf({ ...POD, ...ROLE }), 'web_identity')
  t.equal(kindOf({ ...POD, AWS_ACCESS_KEY_ID: 'AKIA' }), 'container', 'half a key is none')
  t.equal(kindOf({ ...KEYS, AWS_SECRET_ACCESS_KEY: ' ' }), 'instance')
  t.equal(kindOf({}), 'instance')
  t.equal(kindOf({ AWS_EC2_METADATA_DISABLED: 'true' }), 'none')
})

t.test('findAws() says where credentials are fetched', async (t) => {
  const nothing = { accessKeyId: '', secret: null, sessionToken: null }
  t.strictSame(findAws(ROLE, 'cn-north-1'), {
    ...nothing,
    chain: {
      kind: 'web_identity',
      url: 'https://sts.cn-north-1.amazonaws.com.cn',
      roleArn: 'arn:aws:iam::1:role/a',
      sessionName: 'governor',
      tokenFile: '/token',
    },
  })
  const pod = { kind: 'container', url: POD.AWS_CONTAINER_CREDENTIALS_FULL_URI }
  t.strictSame(findAws(POD, 'eu-central-1'), {
    ...nothing,
    chain: { ...pod, token: null, tokenFile: '/pod-token' },
  })
  const task = { kind: 'container', url: 'http://169.254.170.2/v2/credentials/1' }
  t.strictSame(findAws(TASK, 'eu-central-1'), {
    ...nothing,
    chain: { ...task, token: null, tokenFile: null },
  })
  for (const [mode, url] of [
    ['IPv4', 'http://169.254.169.254'],
    ['IPv6', 'http://[fd00:ec2::254]'],
  ] as const) {
    const found = findAws({ AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: mode }, 'eu-central-1')
    t.strictSame(found, { ...nothing, chain: { kind: 'instance', url } })
  }
})

t.test('findAws() sends no token in the clear to another host, and shows no value', async (t) => {
  for (const url of [
    'http://metadata.example/',
    'http://169.254.170.2.example/',
    'https://user:hunter2@a.example/',
    'file:///etc/passwd',
    'hunter2',
  ]) {
    const pod = findAws({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url }, 'eu-central-1')
    const role = findAws({ ...ROLE, AWS_ENDPOINT_URL_STS: url }, 'eu-central-1')
    t.match(pod, { wrong: /^AWS_CONTAINER_CREDENTIALS_FULL_URI is neither/ }, url)
    t.match(role, { wrong: /^AWS_ENDPOINT_URL_STS is not/ }, url)
    const instance = findAws({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url }, 'eu-central-1')
    t.match(instance, { wrong: /^AWS_EC2_METADATA_SERVICE_ENDPOINT is neither/ }, url)
    t.notMatch(JSON.stringify([pod, role, instance]), /hunter2/)
  }
})
