import { wallMs } from '../clock.ts'
import type { AzureChain } from '../config/snapshot.ts'
import {
  type Ask,
  type Ending,
  FetchFault,
  isToken,
  membersOf,
  type Question,
  readToken,
} from './fetched-keys.ts'

/** An access token of Entra ID. */
export interface AzureToken extends Ending {
  readonly secret: string
}

/** Of one machine: an answer comes at once or not at all, and a start waits for it. */
const NEAR_MS_MAX = 2_000
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const SECONDS = /^\d{1,12}$/

/**
 * Fetches a token for `scope` (`https://…/.default`) from where the chain says: Entra ID for a client
 * with a secret or a federated token (RFC 6749 §4.4, RFC 7523), else the service that the machine has for
 * its managed identity. Throws what `ask` throws, and FetchFault.
 */
export async function fetchAzure(
  { chain, scope }: { readonly chain: AzureChain; readonly scope: string },
  ask: Ask,
): Promise<AzureToken> {
  // From when the question is sent: a token is never taken for good longer than it is.
  const askedMs = wallMs()
  const isOwn = chain.kind === 'client_secret' || chain.kind === 'workload_identity'
  const text = isOwn
    ? await ask(chain.url, await clientQuestion(chain, scope))
    : await ask(managedUrl(chain, scope), managedQuestion(chain))
  const { access_token: secret, expires_in: seconds, expires_on: endSeconds } = membersOf(text)
  const endMs = endOf(seconds, endSeconds, askedMs)
  if (!isToken(secret) || endMs === null) throw new FetchFault('the answer holds no token')
  return { secret, endMs }
}

type Client = Extract<AzureChain, { readonly kind: 'client_secret' | 'workload_identity' }>
type Managed = Exclude<AzureChain, Client>

async function clientQuestion(chain: Client, scope: string): Promise<Question> {
  const proof =
    chain.kind === 'client_secret'
      ? { client_secret: chain.clientSecret }
      : { client_assertion_type: ASSERTION, client_assertion: await readToken(chain.tokenFile) }
  const grant = { grant_type: 'client_credentials', client_id: chain.clientId, scope }
  return {
    isFar: true,
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ ...grant, ...proof }).toString(),
  }
}

/** Instances (IMDS) and App Service, Functions and Container Apps name what they ask for alike. */
function managedUrl({ kind, url, clientId }: Managed, scope: string): string {
  const asked = new URL(url)
  const version = kind === 'instance' ? '2018-02-01' : '2019-08-01'
  asked.searchParams.set('api-version', version)
  asked.searchParams.set('resource', scope.replace(/\/\.default$/, ''))
  if (clientId !== null) asked.searchParams.set('client_id', clientId)
  return asked.href
}

function managedQuestion(chain: Managed): Question {
  const headers =
    chain.kind === 'instance' ? { metadata: 'true' } : { 'x-identity-header': chain.header }
  return { isFar: false, method: 'GET', headers, timeMsMax: NEAR_MS_MAX }
}

/** In seconds from now, or as Unix time, each as number or text. */
function endOf(seconds: unknown, endSeconds: unknown, askedMs: number): number | null {
  if (SECONDS.test(String(seconds))) return askedMs + Number(seconds) * 1000
  return SECONDS.test(String(endSeconds)) ? Number(endSeconds) * 1000 : null
}
