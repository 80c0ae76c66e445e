import type { AwsChain } from '../config/snapshot.ts'
import { type Ask, type Ending, FetchFault, isToken, membersOf, readToken } from './fetched-keys.ts'
import type { AwsKeys } from './sigv4.ts'

/** Where credentials are fetched; those of the environment are not. */
export type AwsPlace = Exclude<AwsChain, { readonly kind: 'environment' }>

/** Keys of a role. */
export interface FetchedAws extends AwsKeys, Ending {}

/** Of one machine: an answer comes at once or not at all, and a start waits for it. */
const NEAR_MS_MAX = 2_000
/** Of the token for one fetch; longer than any fetch takes. */
const INSTANCE_TOKEN_SECONDS = '60'
const INSTANCE_KEYS = '/latest/meta-data/iam/security-credentials/'
/** A name of a role (IAM). */
const ROLE = /^[\w+=,.@-]{1,128}$/

/** Fetches the keys of a role from where its place says. Throws what `ask` throws, and FetchFault. */
export async function fetchAws(place: AwsPlace, ask: Ask): Promise<FetchedAws> {
  const fetched = await FETCH[place.kind](place as never, ask)
  if (fetched === null) throw new FetchFault('the answer holds no credentials')
  return fetched
}

type Of<Kind extends AwsPlace['kind']> = Extract<AwsPlace, { readonly kind: Kind }>

const FETCH: {
  readonly [Kind in AwsPlace['kind']]: (place: Of<Kind>, ask: Ask) => Promise<FetchedAws | null>
} = {
  container: fromContainer,
  web_identity: fromSts,
  instance: fromInstance,
}

/** ECS and EKS Pod Identity. */
async function fromContainer(
  { url, token, tokenFile }: Of<'container'>,
  ask: Ask,
): Promise<FetchedAws | null> {
  const authorization = tokenFile === null ? token : await readToken(tokenFile)
  const headers = { accept: 'application/json', ...(authorization !== null && { authorization }) }
  return fromJson(await ask(url, { isFar: false, method: 'GET', headers }))
}

/** AssumeRoleWithWebIdentity: of each name, the first element of the answer. */
async function fromSts(place: Of<'web_identity'>, ask: Ask): Promise<FetchedAws | null> {
  const body = new URLSearchParams({
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: place.roleArn,
    RoleSessionName: place.sessionName,
    WebIdentityToken: await readToken(place.tokenFile),
  }).toString()
  const headers = { accept: 'text/xml', 'content-type': 'application/x-www-form-urlencoded' }
  const text = await ask(place.url, { isFar: true, method: 'POST', headers, body })
  return fetchedOf((name) => new RegExp(`<${name}>\\s*([^<&]+?)\\s*</${name}>`).exec(text)?.[1])
}

/**
 * The instance's metadata service, version 2 only: a token of a session first, which is not handed to
 * anybody further away than the instance allows (its hop limit). Without one nothing is asked.
 */
async function fromInstance({ url }: Of<'instance'>, ask: Ask): Promise<FetchedAws | null> {
  const near = { isFar: false, timeMsMax: NEAR_MS_MAX }
  const token = await ask(`${url}/latest/api/token`, {
    ...near,
    method: 'PUT',
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': INSTANCE_TOKEN_SECONDS },
  }).catch((error: unknown) => {
    if (error instanceof FetchFault) throw error
    throw new FetchFault(
      'no answer from the instance metadata service: outside EC2 set the variables of another place, in a container on EC2 the hop limit of the instance has to be 2',
    )
  })
  if (!isToken(token)) throw new FetchFault('the instance metadata service gave no token')
  const question = {
    ...near,
    method: 'GET',
    headers: { 'x-aws-ec2-metadata-token': token },
  } as const
  const [role = ''] = (await ask(url + INSTANCE_KEYS, question)).split('\n')
  if (!ROLE.test(role.trim())) throw new FetchFault('the instance has no role')
  return fromJson(await ask(url + INSTANCE_KEYS + role.trim(), question))
}

/** As containers and instances answer; null where something is missing. */
function fromJson(text: string): FetchedAws | null {
  const said = membersOf(text)
  return fetchedOf((name) => said[name === 'SessionToken' ? 'Token' : name])
}

function fetchedOf(said: (name: string) => unknown): FetchedAws | null {
  const [accessKeyId, secret, sessionToken, end] = [
    said('AccessKeyId'),
    said('SecretAccessKey'),
    said('SessionToken'),
    said('Expiration'),
  ].map((each) => (isToken(each) ? each : null))
  const endMs = Date.parse(end ?? '')
  if (accessKeyId == null || secret == null || sessionToken == null) return null
  return Number.isNaN(endMs) ? null : { accessKeyId, secret, sessionToken, endMs }
}
