import type { AwsChain } from './snapshot-upstreams.ts'

/** Variables of the environment. */
export type Env = Readonly<Record<string, string | undefined>>

/** What the environment gives: keys, or where they are fetched and refreshed. */
export interface FoundAws {
  readonly chain: AwsChain
  readonly accessKeyId: string
  /** Null where they are fetched. */
  readonly secret: string | null
  readonly sessionToken: string | null
}

/** The metadata service of an instance, over IPv4 and IPv6. */
const INSTANCE_URLS = ['http://169.254.169.254', 'http://[fd00:ec2::254]'] as const

/** Hosts that AWS serves containers on (ECS, EKS Pod Identity over IPv4 and IPv6), and instances. */
const AWS_HOSTS: ReadonlySet<string> = new Set([
  ...INSTANCE_URLS.map((url) => new URL(url).hostname),
  '169.254.170.2',
  '169.254.170.23',
  '[fd00:ec2::23]',
])

/**
 * Where AWS credentials are, in the order of the AWS SDKs and by their variables: keys, a web identity
 * (IRSA), a container (ECS, EKS Pod Identity), the instance (EC2), which says nothing of itself. Says what
 * is wrong without saying any value.
 */
export function findAws(env: Env, region: string): FoundAws | { readonly wrong: string } {
  const accessKeyId = said(env, 'AWS_ACCESS_KEY_ID')
  const secret = said(env, 'AWS_SECRET_ACCESS_KEY')
  if (accessKeyId !== null && secret !== null) {
    const sessionToken = said(env, 'AWS_SESSION_TOKEN')
    return { chain: { kind: 'environment' }, accessKeyId, secret, sessionToken }
  }
  const chain = webIdentity(env, region) ?? container(env) ?? instance(env)
  if (chain === null) {
    return {
      wrong:
        'Found no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role of a pod, task or instance',
    }
  }
  return 'wrong' in chain ? chain : { chain, accessKeyId: '', secret: null, sessionToken: null }
}

function webIdentity(env: Env, region: string): AwsChain | { readonly wrong: string } | null {
  const roleArn = said(env, 'AWS_ROLE_ARN')
  const tokenFile = said(env, 'AWS_WEB_IDENTITY_TOKEN_FILE')
  if (roleArn === null || tokenFile === null) return null
  const domain = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
  const url = said(env, 'AWS_ENDPOINT_URL_STS') ?? `https://sts.${region}.${domain}`
  if (!isSafe(url)) return { wrong: 'AWS_ENDPOINT_URL_STS is not an https: URL' }
  const sessionName = said(env, 'AWS_ROLE_SESSION_NAME') ?? 'governor'
  return { kind: 'web_identity', url, roleArn, sessionName, tokenFile }
}

function container(env: Env): AwsChain | { readonly wrong: string } | null {
  const relative = said(env, 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI')
  const full = said(env, 'AWS_CONTAINER_CREDENTIALS_FULL_URI')
  const url = relative === null ? full : `http://169.254.170.2/${relative.replace(/^\/+/, '')}`
  if (url === null) return null
  const wrong =
    'AWS_CONTAINER_CREDENTIALS_FULL_URI is neither an https: URL nor one of this host or of AWS'
  if (!isSafe(url)) return { wrong }
  const tokenFile = said(env, 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE')
  const token = tokenFile === null ? said(env, 'AWS_CONTAINER_AUTHORIZATION_TOKEN') : null
  return { kind: 'container', url, token, tokenFile }
}

/** The metadata service, where it is not switched off; by the variables of the AWS SDKs. */
function instance(env: Env): AwsChain | { readonly wrong: string } | null {
  if (said(env, 'AWS_EC2_METADATA_DISABLED')?.toLowerCase() === 'true') return null
  const isIPv6 = said(env, 'AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE')?.toLowerCase() === 'ipv6'
  const url = said(env, 'AWS_EC2_METADATA_SERVICE_ENDPOINT') ?? INSTANCE_URLS[isIPv6 ? 1 : 0]
  const wrong =
    'AWS_EC2_METADATA_SERVICE_ENDPOINT is neither an https: URL nor one of this host or of AWS'
  return isSafe(url) ? { kind: 'instance', url: url.replace(/\/+$/, '') } : { wrong }
}

/** Over TLS, or where no network is between: what is sent and what comes are credentials. */
export function isSafe(written: string, isNear = isNearAws): boolean {
  if (!URL.canParse(written)) return false
  const { protocol, hostname, username, password } = new URL(written)
  if (username + password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && isNear(hostname))
}

/** This host, or where AWS serves what runs on its machines. */
export function isNearAws(hostname: string): boolean {
  return AWS_HOSTS.has(hostname) || /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname)
}

/** A variable that says something; null for one that is absent, blank or holds what no credential does. */
export function said(env: Env, name: string): string | null {
  const value = env[name]?.trim() ?? ''
  return /^[\x21-\x7e]+$/.test(value) ? value : null
}
