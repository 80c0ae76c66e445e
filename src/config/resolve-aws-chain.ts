import type { AwsChain } from './snapshot-upstreams.ts'

type Env = Readonly<Record<string, string | undefined>>

/** What the environment gives: keys, or where they are fetched and refreshed. */
export interface FoundAws {
  readonly chain: AwsChain
  readonly accessKeyId: string
  /** Null where they are fetched. */
  readonly secret: string | null
  readonly sessionToken: string | null
}

/** Hosts that AWS serves containers on (ECS, EKS Pod Identity over IPv4 and IPv6). */
const CONTAINER_HOSTS: ReadonlySet<string> = new Set([
  '169.254.170.2',
  '169.254.170.23',
  '[fd00:ec2::23]',
])

/**
 * Where AWS credentials are, in the order of the AWS SDKs and by their variables: keys, a web identity
 * (IRSA), a container (ECS, EKS Pod Identity). Says what is wrong without saying any value.
 */
export function findAws(env: Env, region: string): FoundAws | { readonly wrong: string } {
  const accessKeyId = said(env, 'AWS_ACCESS_KEY_ID')
  const secret = said(env, 'AWS_SECRET_ACCESS_KEY')
  if (accessKeyId !== null && secret !== null) {
    const sessionToken = said(env, 'AWS_SESSION_TOKEN')
    return { chain: { kind: 'environment' }, accessKeyId, secret, sessionToken }
  }
  const chain = webIdentity(env, region) ?? container(env)
  if (chain === null) {
    return {
      wrong:
        'Found no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role of a pod or task',
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

/** Over TLS, or where no network is between: what is sent and what comes are credentials. */
function isSafe(written: string): boolean {
  if (!URL.canParse(written)) return false
  const { protocol, hostname, username, password } = new URL(written)
  if (username + password !== '') return false
  const isNear =
    CONTAINER_HOSTS.has(hostname) || /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname)
  return protocol === 'https:' || (protocol === 'http:' && isNear)
}

function said(env: Env, name: string): string | null {
  const value = env[name]?.trim() ?? ''
  return /^[\x21-\x7e]+$/.test(value) ? value : null
}
