import type { Ways } from './auth/authenticate.ts'
import type { Tokens } from './auth/jwt.ts'
import { readPriceTable } from './config/price-table.ts'
import type { Snapshot, UpstreamConfig } from './config/snapshot.ts'
import type { Dialect, Upstream } from './exchange.ts'
import { HeaderList } from './http/headers.ts'
import { PriceBook } from './limit/prices.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { compilePolicies, type CompiledPolicies } from './policy/compile.ts'
import { upstreamRouter } from './policy/described-call.ts'
import { compileAliases, ModelNames } from './policy/model-names.ts'
import { compileSelectors, NO_SELECTORS, type SelectorTest } from './policy/selectors.ts'
import { openDetectors, type RunningDetector } from './stages/external-detectors.ts'
import { fetchAws, type FetchedAws } from './upstream/aws-keys.ts'
import { type AzureToken, fetchAzure } from './upstream/azure-token.ts'
import { UpstreamCare } from './upstream/care.ts'
import { FetchedKeys, type FetchedOptions } from './upstream/fetched-keys.ts'
import { UpstreamPool } from './upstream/forward.ts'
import { Group, type Member } from './upstream/group.ts'
import { ProxyConnector, type ProxyPlace } from './upstream/proxy-connector.ts'
import { AwsSigner } from './upstream/sigv4.ts'

/** An upstream that is ready to be called. */
export interface RunningUpstream extends Upstream, Member {
  readonly config: UpstreamConfig
  /** Null where nothing is said of failures or size: it is called, once. */
  readonly care: UpstreamCare | null
  /** Null where it stands alone. */
  readonly group: Group<RunningUpstream> | null
  readonly firstByteMs: number
  readonly idleMs: number
  readonly provider: Dialect
  readonly pool: UpstreamPool
  /** Fails for a call whose models this upstream does not serve. */
  readonly serves: SelectorTest
  /** Without a token that is fetched: `headersOf` has it. */
  readonly credentialHeaders: readonly string[]
  /** Null where the credential is a header. */
  readonly signer: AwsSigner | null
  /** What `signer` signs with, or the token that is sent, where that is fetched; null where it is configured. */
  readonly fetchedKeys: Fetched | null
  /** What is taken out of its answers, beside a token that was sent; null where the credential is no secret. */
  readonly secret: string | null
}

/** What is fetched for an upstream: keys that sign, or a token. */
export type Fetched = FetchedKeys<FetchedAws> | FetchedKeys<AzureToken>

/** Whether there is something to call an upstream with; what is fetched may be late, or have ended. */
export function hasKeys({ fetchedKeys }: RunningUpstream, nowMs: number): boolean {
  return fetchedKeys === null || fetchedKeys.current(nowMs) !== null
}

/**
 * Headers that an upstream knows us by, flat pairs, but for a signature. A token among them is noted, for
 * there may be another one when the answer comes. `nowMs` is wall time.
 */
export function headersOf(
  { credentialHeaders, fetchedKeys, signer }: RunningUpstream,
  exchange: { sentToken: string | null },
  nowMs: number,
): readonly string[] {
  if (fetchedKeys === null || signer !== null) return credentialHeaders
  const token = fetchedKeys.current(nowMs)?.secret ?? null
  exchange.sentToken = token
  return token === null ? [] : ['authorization', `Bearer ${token}`]
}

/** The headers that pass either way in a dialect. */
export interface DialectHeaders {
  readonly request: HeaderList
  readonly response: HeaderList
}

/** A candidate, compiled. */
export interface CandidateWorld {
  readonly digest: string
  readonly policies: CompiledPolicies
  readonly detectors: ReadonlyMap<string, RunningDetector>
  /** Its own upstreams decide which one its policies see. */
  readonly route: ReturnType<typeof upstreamRouter>
}

/** One snapshot, compiled: everything a request needs and nothing it has to prepare. */
export interface World {
  readonly snapshot: Snapshot
  readonly policies: CompiledPolicies
  /** What is only asked, of every call; null without `candidate`. */
  readonly candidate: CandidateWorld | null
  readonly upstreams: readonly RunningUpstream[]
  readonly headers: ReadonlyMap<string, DialectHeaders>
  /** Detectors that are services, by id. */
  readonly detectors: ReadonlyMap<string, RunningDetector>
  /** What is accepted beside Governor keys. */
  readonly ways: Ways
  readonly prices: PriceBook
  /** The most any limit reserves for an answer, tokens. */
  readonly reserveOutput: number
}

/** What a world is compiled with beside its snapshot. */
export interface WorldParts {
  readonly dialects: Readonly<Record<string, Dialect>>
  /** Address of the built-in echo for an `echo:` address. */
  echoUrl(url: string): Promise<string>
  /** Pools of the former world, kept where name, address, time-out and proxy are the same. */
  readonly former: World | null
  readonly metrics: Metrics
  readonly log: Log
}

const SERVES = { quantifier: 'every', modellessPasses: true } as const

function openPrices({ prices, aliases }: Snapshot, { cacheRequests }: Metrics): PriceBook {
  const found = {
    hit: { cache: 'prices', result: 'hit' },
    miss: { cache: 'prices', result: 'miss' },
  }
  return new PriceBook(prices, readPriceTable().models, aliases, (result) => {
    cacheRequests.inc(found[result])
  })
}

/** Compiles a snapshot. All the cost of a reload is here, before the swap. */
export async function createWorld(snapshot: Snapshot, parts: WorldParts): Promise<World> {
  const names = new ModelNames(compileAliases(snapshot.aliases))
  const upstreams: Building[] = []
  for (const config of snapshot.upstreams) {
    const serves = compileSelectors({ ...NO_SELECTORS, models: config.models }, names, SERVES)
    upstreams.push(await openUpstream(config, { serves, snapshot, parts }))
  }
  joinGroups(upstreams)
  const headers = new Map(
    Object.values(parts.dialects).map((dialect) => [
      dialect.name,
      {
        request: new HeaderList(dialect.requestHeaders),
        response: new HeaderList(dialect.responseHeaders),
      },
    ]),
  )
  const policies = compilePolicies(snapshot)
  const former = servicesOf(parts.former)
  const detectors = openDetectors(snapshot, former, parts.metrics)
  const candidate = candidateWorld(snapshot, new Map([...former, ...detectors]), parts.metrics)
  const prices = openPrices(snapshot, parts.metrics)
  const reserveOutput = Math.max(0, ...snapshot.limits.map((limit) => limit.reserveOutput))
  const tokens = await tokensOf(snapshot, parts)
  const { certificate, pod } = snapshot.auth
  const ways = { tokens, certificate, pod }
  const compiled = { policies, candidate, upstreams, headers, detectors }
  return { snapshot, ...compiled, ways, prices, reserveOutput }
}

type Building = { -readonly [Key in keyof RunningUpstream]: RunningUpstream[Key] }

async function openUpstream(
  config: UpstreamConfig,
  given: {
    readonly serves: SelectorTest
    readonly snapshot: Snapshot
    readonly parts: WorldParts
  },
): Promise<Building> {
  const { parts, serves } = given
  const { name, dialect, group, timeouts: own } = config
  const { connectMs, firstByteMs, idleMs } = given.snapshot.timeouts
  const provider = parts.dialects[dialect]!
  const care = careFor(config, parts.former)
  const pool = await poolFor(config, own?.connectMs ?? connectMs, parts)
  const fetchedKeys = await fetchedKeysFor(config, pool, parts)
  return {
    name,
    dialect,
    config,
    provider,
    pool,
    serves,
    ...credentialsOf(config, { provider, pool, fetchedKeys }),
    fetchedKeys,
    secret: configuredSecret(config),
    care,
    group: null,
    priority: group?.priority ?? 0,
    weight: group?.weight ?? 1,
    available: (nowMs) => care === null || care.available(nowMs),
    firstByteMs: own?.firstByteMs ?? firstByteMs,
    idleMs: own?.idleMs ?? idleMs,
  }
}

/** What a provider knows us by: headers that are always the same, or a signature of each call. */
function credentialsOf(
  { credential, aws }: UpstreamConfig,
  {
    provider,
    pool: { url },
    fetchedKeys,
  }: Pick<RunningUpstream, 'provider' | 'pool' | 'fetchedKeys'>,
): Pick<RunningUpstream, 'credentialHeaders' | 'signer'> {
  if (aws !== undefined && fetchedKeys !== null) {
    const keys = fetchedKeys as FetchedKeys<FetchedAws>
    const signer = new AwsSigner(url, aws.region, (wallMs) => keys.current(wallMs))
    return { credentialHeaders: [], signer }
  }
  if (credential === null) return { credentialHeaders: [], signer: null }
  if (aws !== undefined) {
    const keys = { ...aws, secret: credential }
    return { credentialHeaders: [], signer: new AwsSigner(url, aws.region, () => keys) }
  }
  return { credentialHeaders: Object.entries(provider.credential(credential)).flat(), signer: null }
}

/** Those of the former world where the place and the way to it are the same. Waits for the first fetch. */
async function fetchedKeysFor(
  config: UpstreamConfig,
  pool: UpstreamPool,
  { former, log }: WorldParts,
): Promise<Fetched | null> {
  const way = wayOf(config)
  if (way === null) return null
  const same = former?.upstreams.find((each) => wayOf(each.config) === way)
  const keys = same?.fetchedKeys ?? openKeys(config, pool, log)
  await keys?.tried
  return keys
}

/** All that a fetch depends on; null where nothing is fetched. */
function wayOf({ name, aws, azure, proxy }: UpstreamConfig): string | null {
  const isFetched =
    azure !== undefined || (aws?.chain !== undefined && aws.chain.kind !== 'environment')
  return isFetched ? JSON.stringify([name, aws?.chain, azure, proxy]) : null
}

function openKeys(
  { name, aws, azure }: UpstreamConfig,
  { proxy, connectMs }: UpstreamPool,
  log: Log,
): Fetched | null {
  const way: Pick<FetchedOptions<never>, 'name' | 'connectorTo' | 'log'> = {
    name,
    connectorTo: (url) =>
      proxy === null ? null : new ProxyConnector({ proxy, url, connectMs, ca: null }),
    log,
  }
  const chain = azure?.chain ?? null
  if (azure !== undefined && chain !== null) {
    const fetch = fetchAzure.bind(null, { chain, scope: azure.scope })
    return new FetchedKeys({ ...way, what: 'a token of Azure', fetch })
  }
  const place = aws?.chain
  if (place === undefined || place.kind === 'environment') return null
  return new FetchedKeys({ ...way, what: 'AWS credentials', fetch: fetchAws.bind(null, place) })
}

function joinGroups(upstreams: readonly Building[]): void {
  const members = Map.groupBy(upstreams, ({ config }) => config.group?.name ?? '')
  for (const [name, each] of members) {
    if (name === '') continue
    const group = new Group<RunningUpstream>(each)
    for (const upstream of each) upstream.group = group
  }
}

/** What is known of an upstream outlives a reload that leaves it where and as it is. */
function careFor(config: UpstreamConfig, former: World | null): UpstreamCare | null {
  const key = careKey(config)
  if (key === null) return null
  const same = former?.upstreams.find((each) => careKey(each.config) === key)
  return same?.care ?? new UpstreamCare(config)
}

function careKey(config: UpstreamConfig): string | null {
  const { name, url, retry, breaker, concurrency, fallback } = config
  const said = [retry, breaker, concurrency, fallback]
  return said.every((each) => each === undefined) ? null : JSON.stringify([name, url, ...said])
}

/** The services of a world and of its candidate. */
function servicesOf(world: World | null): ReadonlyMap<string, RunningDetector> {
  return new Map([...(world?.candidate?.detectors ?? []), ...(world?.detectors ?? [])])
}

/** A service that is configured alike is the same, so that a text is sent to it once. */
function candidateWorld(
  { candidate }: Snapshot,
  known: ReadonlyMap<string, RunningDetector>,
  metrics: Metrics,
): CandidateWorld | null {
  if (candidate === null) return null
  return {
    digest: candidate.digest,
    policies: compilePolicies(candidate),
    detectors: openDetectors(candidate, known, metrics),
    route: upstreamRouter(candidate),
  }
}

/** Shorter than any key a provider gives out; a short word would be cut out of ordinary answers. */
const SECRET_CHARS_MIN = 8

function configuredSecret({ url, credential }: UpstreamConfig): string | null {
  if (credential === null || url.startsWith('echo:')) return null
  return credential.length < SECRET_CHARS_MIN ? null : credential
}

/** What checks signatures is loaded by those who have issuers. */
async function tokensOf({ auth: { jwt } }: Snapshot, parts: WorldParts): Promise<Tokens | null> {
  if (jwt.length === 0) return null
  const { openIssuers } = await import('./auth/issuers.ts')
  const { former, metrics, log } = parts
  return openIssuers(jwt, { former: former?.ways.tokens ?? null, metrics, log })
}

async function poolFor(
  config: UpstreamConfig,
  connectMs: number,
  parts: WorldParts,
): Promise<UpstreamPool> {
  const url = config.url.startsWith('echo:') ? await parts.echoUrl(config.url) : config.url
  const ca = config.ca?.pem ?? null
  const proxy = proxyOf(config)
  const same = parts.former?.upstreams.find(
    ({ pool }) =>
      pool.name === config.name &&
      pool.url === url &&
      pool.connectMs === connectMs &&
      pool.ca === ca &&
      isSameProxy(pool.proxy, proxy),
  )
  return same?.pool ?? new UpstreamPool({ name: config.name, url, connectMs, ca, proxy })
}

function proxyOf({ proxy }: UpstreamConfig): ProxyPlace | null {
  if (proxy === undefined) return null
  return { url: proxy.url, credential: proxy.credential, ca: proxy.ca?.pem ?? null }
}

function isSameProxy(one: ProxyPlace | null, other: ProxyPlace | null): boolean {
  return one?.url === other?.url && one?.credential === other?.credential && one?.ca === other?.ca
}

/** Connections that are closed when no call needs them any more. */
export interface Closable {
  destroy(): Promise<void>
}

/** All the connections of a world. */
export function poolsOf({ upstreams, detectors, candidate, ways }: World): Closable[] {
  const services = [...detectors.values(), ...(candidate?.detectors.values() ?? [])]
  const pools = [...upstreams, ...services].map(({ pool }) => pool)
  const fetched = upstreams.flatMap(({ fetchedKeys }) => fetchedKeys ?? [])
  return [...new Set([...pools, ...fetched, ...(ways.tokens?.keys ?? [])])]
}

/** The pools that only the former world uses. */
export function droppedPools(former: World, next: World): Closable[] {
  const kept = new Set(poolsOf(next))
  return poolsOf(former).filter((pool) => !kept.has(pool))
}
