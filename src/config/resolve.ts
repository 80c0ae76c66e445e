import { BlockList, isIPv4 } from 'node:net'
import { dirname, resolve } from 'node:path'

import { OPERATIONS, type OwnOperation } from '../exchange.ts'
import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import { authFiles, resolveIssuers } from './resolve-auth.ts'
import { awsFiles, resolveAws } from './resolve-aws.ts'
import { resolveAzure } from './resolve-azure.ts'
import { resolveDetectors } from './resolve-detectors.ts'
import { resolveExceptions } from './resolve-exceptions.ts'
import { type ExpressionCheck, ExpressionChecker } from './resolve-expressions.ts'
import { keysFiles, resolveKeys } from './resolve-keys.ts'
import { resolveLimits, resolvePrices } from './resolve-limits.ts'
import { ownershipFiles, resolveOwnership } from './resolve-ownership.ts'
import { checkUnique, resolvePolicies } from './resolve-policies.ts'
import { proxyFiles, resolveProxy } from './resolve-proxy.ts'
import { resolveSecret } from './resolve-secret.ts'
import { resolveShip, shipFiles } from './resolve-ship.ts'
import { resolveStore } from './resolve-store.ts'
import { resolveTests } from './resolve-tests.ts'
import { patternProblem, type Scope } from './resolve-texts.ts'
import { resolveCertificate, resolveTls, tlsFiles } from './resolve-tls.ts'
import { caOf, careOf, checkGroups } from './resolve-upstreams.ts'
import type { FILE } from './schema.ts'
import type { Address, DialectName, Snapshot, UpstreamConfig } from './snapshot.ts'
import { quote } from './source.ts'
import type { Read } from './spec.ts'
import { formatAddress, formatSize } from './units.ts'

/** The file as read by its table: keys as in YAML, values without units. */
export type FileValue = Read<typeof FILE>

/** What the file itself does not say. */
export interface ResolveOptions {
  /** Absolute path of the file; relative paths in it start at its directory. */
  readonly file: string
  readonly digest: string
  /** Content of a secret file, or what is wrong with it. */
  readonly readSecret: (path: string) => { readonly secret: string } | { readonly wrong: string }
  /** Text of another file, or what is wrong with it. */
  readonly readText: (path: string) => { readonly text: string } | { readonly wrong: string }
  readonly checkExpression: ExpressionCheck
  /** The variables of the process, and whether what they lack is an error. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly forRun: boolean
}

/**
 * Checks what keys say together and crosses the border from YAML's names to ours. Problems go to the
 * report; the snapshot is only good when there are none.
 */
export function resolveFile(value: FileValue, report: Report, options: ResolveOptions): Snapshot {
  const path = (relative: string) => resolve(dirname(options.file), relative)
  const upstreams = resolveUpstreams(value, report, options)
  const operations = value.operations.filter((name) => isOwnOperation(name))
  const scope = scopeOf(value, { upstreams, operations, report, options })
  checkSets(value, report)
  checkListeners(value, report)
  checkMaximums(value, report)
  const keys = resolveKeys(value, report, options)
  checkFiles(keys.path, path(value.audit.path), report)
  checkOperations(value, report)
  const limits = resolveLimits(value, scope)
  const policies = resolvePolicies(value, scope)
  const exceptions = resolveExceptions(value, scope)
  checkGroups(upstreams, { policies, limits, exceptions }, report)
  const jwt = resolveIssuers(value.auth, report, options)
  const certificate = resolveCertificate(value, report)
  const ship = resolveShip(value.audit, report, options)
  return {
    file: options.file,
    digest: options.digest,
    secretFiles: secretFilesOf(value, path),
    listen: { ...value.listen, tls: resolveTls(value, report, options) },
    upstreams,
    auth: {
      keys,
      pod: value.auth.pod,
      jwt,
      certificate,
    },
    limits,
    limitStore: resolveStore(value, report, options),
    sidecars: value.sidecars,
    prices: resolvePrices(value, report),
    defaults: defaultsOf(value),
    operations,
    aliases: value.aliases,
    lookAlikes: value.look_alikes,
    policies,
    exceptions,
    candidate: null,
    detectors: resolveDetectors(value, {
      report,
      credential: (given, at) => resolveCredential(given, { report, at, options }),
    }),
    ownership: resolveOwnership(value, report, { ship, auth: { jwt, certificate }, options }),
    tests: resolveTests(value, report),
    audit: {
      ...resolveAudit(value, { path, keysPath: keys.path }, report),
      ship,
    },
    ...figuresOf(value),
  }
}

interface Resolved {
  readonly upstreams: readonly UpstreamConfig[]
  readonly operations: readonly OwnOperation[]
  readonly report: Report
  readonly options: ResolveOptions
}

/** The names a policy may use. */
function scopeOf(value: FileValue, { upstreams, operations, report, options }: Resolved): Scope {
  return {
    operations: [...OPERATIONS, ...operations],
    sets: value.sets,
    upstreams: upstreams.map(({ name }) => name),
    detectors: value.detectors.map(({ id }) => id),
    services: value.detectors
      .filter(({ presidio, openai_moderation: moderation }) => (presidio ?? moderation) !== null)
      .map(({ id }) => id),
    placeless: value.detectors
      .filter(({ openai_moderation: moderation }) => moderation !== null)
      .map(({ id }) => id),
    patterns: new Map(
      value.detectors.flatMap(({ id, matches }): [string, string][] =>
        matches !== null && patternProblem(matches) === null ? [[id, matches]] : [],
      ),
    ),
    report,
    expressions: new ExpressionChecker(options.checkExpression, report),
  }
}

function isOwnOperation(name: string): name is OwnOperation {
  return !(OPERATIONS as readonly string[]).includes(name)
}

function checkOperations({ operations }: FileValue, report: Report): void {
  checkUnique(operations, report, (index) => ['operations', index])
  operations.forEach((name, index) => {
    const message = `${quote(name)} is an operation already: it needs no mention here`
    report.check(['operations', index], isOwnOperation(name), message)
  })
}

function defaultsOf({ defaults }: FileValue): Snapshot['defaults'] {
  return {
    decision: defaults.decision,
    onError: defaults.on_error,
    unknownOperation: defaults.unknown_operation,
    uninspectable: defaults.uninspectable,
    mode: defaults.mode,
  }
}

function resolveAudit(
  value: FileValue,
  { path, keysPath }: { path: (relative: string) => string; keysPath: string },
  report: Report,
): Omit<Snapshot['audit'], 'ship'> {
  const { audit } = value
  const { checkpoints } = audit
  const file = checkpoints?.file ?? null
  const isOwn = file === null || ![path(audit.path), keysPath].includes(path(file))
  const message = 'It is the file of the log or of the keys: give checkpoints their own'
  report.check(['audit', 'checkpoints', 'file'], isOwn, message)
  return {
    path: path(audit.path),
    required: audit.required,
    ack: audit.ack,
    localBytesMax: audit.local_max,
    content: audit.content,
    retentionMs: audit.retention,
    checkpoints: { file: file === null ? null : path(file), url: checkpoints?.url ?? null },
    root: resolveRoot(value, { path, keysPath }, report),
  }
}

function resolveRoot(
  { audit }: FileValue,
  { path, keysPath }: { path: (relative: string) => string; keysPath: string },
  report: Report,
): Snapshot['audit']['root'] {
  const { root, checkpoints } = audit
  if (root === null) return { file: null, url: null, keys: null }
  const file = root.file === null ? null : path(root.file)
  const others = [path(audit.path), keysPath, path(checkpoints?.file ?? audit.path)]
  report.check(
    ['audit', 'root', 'file'],
    file === null || !others.includes(file),
    'It is the file of the log, of the keys or of the checkpoints: give the root its own',
  )
  report.check(
    ['audit', 'root'],
    file !== null || root.url !== null,
    'It names no place: give file or url',
  )
  return { file, url: root.url, keys: root.keys === null ? null : path(root.keys) }
}

function figuresOf({ maximums, timeouts }: FileValue): Pick<Snapshot, 'maximums' | 'timeouts'> {
  return {
    maximums: {
      bodyBytes: maximums.body,
      decodedBytes: maximums.decoded,
      ...formMaximums(maximums),
      inFlightBytes: maximums.in_flight,
      jsonDepth: maximums.json_depth,
      streams: maximums.streams,
    },
    timeouts: {
      clientHeadersMs: timeouts.client_headers,
      clientBodyMs: timeouts.client_body,
      connectMs: timeouts.connect,
      firstByteMs: timeouts.first_byte,
      idleMs: timeouts.idle,
      commitMs: timeouts.commit,
      drainMs: timeouts.drain,
    },
  }
}

function checkSets({ sets }: FileValue, report: Report): void {
  for (const [name, items] of Object.entries(sets)) {
    items.forEach((item, index) => {
      const message = 'A set cannot name another set: write the members out'
      report.check(['sets', name, index], !/^\$[^{]/.test(item), message)
    })
  }
}

function checkListeners({ listen, auth }: FileValue, report: Report): void {
  const taken = new Map<string, string>()
  for (const name of ['proxy', 'admin', 'health'] as const) {
    const address = listen[name]
    if (address === null || address.port === 0) continue
    const text = formatAddress(address)
    const other = taken.get(text)
    report.check(
      ['listen', name],
      other === undefined,
      `${quote(text)} is the address of listen.${other} too: give each its own port`,
    )
    taken.set(text, name)
  }
  report.check(
    ['auth', 'pod'],
    auth.pod === null || isLoopback(listen.proxy) || !report.clean(['listen', 'proxy']),
    `Not with listen.proxy ${formatAddress(listen.proxy)}, where others can call without a key: ` +
      'listen on a loopback address (127.0.0.0/8 or [::1]) or remove it',
  )
}

const MIB = 1024 * 1024

/** What is not said is no less than what is. */
function formMaximums({ body, upload, spooled }: FileValue['maximums']) {
  const uploadBytes = upload ?? Math.max(64 * MIB, body)
  return { uploadBytes, spooledBytes: spooled ?? Math.max(256 * MIB, 2 * uploadBytes) }
}

/** While a compressed body is decoded, both its forms are held. */
function checkMaximums({ maximums }: FileValue, report: Report): void {
  const { body, decoded, in_flight: inFlight } = maximums
  const message =
    `${formatSize(inFlight)} cannot hold one compressed request: expected at least ` +
    `${formatSize(body + decoded)}, maximums.body (${formatSize(body)}) and ` +
    `maximums.decoded (${formatSize(decoded)}) together`
  report.check(['maximums', 'in_flight'], inFlight >= body + decoded, message)
  const { uploadBytes, spooledBytes } = formMaximums(maximums)
  const uploads = `One key may use half of it, so that it has to be twice \`maximums.upload\` at least (${formatSize(2 * uploadBytes)})`
  report.check(['maximums', 'spooled'], spooledBytes >= 2 * uploadBytes, uploads)
}

/** The key store is not an audit log: each would refuse, or ruin, the other's file. */
function checkFiles(keysPath: string, auditPath: string, report: Report): void {
  const message = 'It is the file of audit.path too: give each its own'
  report.check(['auth', 'keys', 'path'], keysPath !== auditPath, message)
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** Only addresses: what `localhost` names is decided elsewhere. */
function isLoopback({ host }: Address): boolean {
  if (isIPv4(host)) return LOOPBACK.check(host, 'ipv4')
  return host.includes(':') && LOOPBACK.check(host, 'ipv6')
}

// --- upstreams ---

/** Providers that report a stream's usage only when asked. */
const ASKED: ReadonlySet<DialectName> = new Set(['openai', 'azure-openai'])

function resolveUpstreams(
  { upstreams }: FileValue,
  report: Report,
  options: ResolveOptions,
): UpstreamConfig[] {
  const names = upstreams.map(({ name }) => name)
  checkUnique(names, report, (index) => ['upstreams', index, 'name'])
  return upstreams.map((upstream, index) => {
    const at = ['upstreams', index]
    const { name, dialect, models } = upstream
    report.check(
      [...at, 'name'],
      name !== 'v1',
      '"v1" is where every dialect is mounted: take another name',
    )
    const url = resolveUrl(upstream.url, report, [...at, 'url'])
    const credential = resolveCredential(upstream, { report, at, options })
    const asks = ASKED.has(dialect)
    report.check(
      [...at, 'usage'],
      asks || upstream.usage !== 'ask',
      `"ask" is not for "${dialect}", which reports usage unasked: remove it`,
    )
    const canTunnel = !url.startsWith('echo:') && upstream.aws === null
    const message =
      '"none" is for upstreams with a URL and a key: echo: has no sockets, and AWS signs each message'
    report.check([...at, 'inspect'], upstream.inspect === null || canTunnel, message)
    const inspect = upstream.inspect === null ? {} : { inspect: upstream.inspect }
    const usage = upstream.usage ?? (asks ? 'ask' : 'observe')
    const context = { report, at, options }
    const care = {
      ...caOf(upstream, context),
      ...resolveProxy(upstream, context),
      ...careOf(upstream, at, report),
    }
    const aws = resolveAws(upstream, credential, context)
    const azure = resolveAzure(upstream, context)
    return { name, dialect, url, credential, models, usage, ...inspect, ...aws, ...azure, ...care }
  })
}

function secretFilesOf(value: FileValue, path: (relative: string) => string): string[] {
  const { upstreams, detectors, audit, auth } = value
  const services = detectors.map((each) => each.presidio ?? each.openai_moderation)
  const named = [...upstreams, ...services].map((each) => each?.credential_file ?? null)
  const signing = upstreams.flatMap(({ aws }) => awsFiles(aws))
  const trusted = upstreams.flatMap((each) => [each.ca_file, ...proxyFiles(each)])
  const more = [
    ...trusted,
    ...ownershipFiles(value),
    ...shipFiles(audit),
    ...authFiles(auth),
    ...keysFiles(auth),
    ...tlsFiles(value),
  ]
  const files = [...named, ...signing, ...more].flatMap((file) => (file === null ? [] : path(file)))
  return [...new Set(files)]
}

/** The built-in upstream and its two options. */
const ECHO_OPTION = '(?:pace|delay)=\\d{1,5}m?s'
const ECHO = new RegExp(`^echo:(?:\\?${ECHO_OPTION}(?:&${ECHO_OPTION})?)?$`)

/** Never shows the URL: people put passwords in them. */
/** RFC 3927, RFC 4291 §2.5.6, and what AWS has instead (fd00:ec2::/32). */
const LINK_LOCAL = /^(?:169\.254\.|\[fe[89ab]|\[fd00:ec2:)/

function resolveUrl(written: string, report: Report, at: Path): string {
  if (ECHO.test(written)) return written
  if (/\$\{/.test(written)) return written
  const url = URL.canParse(written) ? new URL(written) : null
  const web = url !== null && /^https?:\/\/[^/]/i.test(written)
  report.check(
    at,
    web,
    'Expected an http(s) URL like https://api.openai.com, or echo:, with pace or delay like echo:?pace=20ms',
  )
  if (url === null || !web) return written
  const user = url.username === '' && url.password === ''
  report.check(at, user, 'A URL cannot hold a user or password: use `credential`')
  report.check(
    at,
    !LINK_LOCAL.test(url.hostname),
    'A link-local address is where clouds keep the credentials of a machine: it cannot be an upstream',
  )
  const bare = !/[?#]/.test(written)
  report.check(at, bare, 'A URL cannot hold a query or fragment here: remove it')
  return url.href.replace(/\/+$/, '')
}

function resolveCredential(
  given: Pick<FileValue['upstreams'][number], 'credential' | 'credential_file' | 'url'>,
  context: { report: Report; at: Path; options: ResolveOptions },
): string | null {
  const { credential: value, credential_file: file, url } = given
  const literal = url.startsWith('echo:')
  return resolveSecret({ value, file }, { ...context, key: 'credential', literal })
}
