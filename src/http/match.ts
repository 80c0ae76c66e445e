import type { IncomingHttpHeaders } from 'node:http'

import { GovernorError } from '../errors.ts'
import type { Dialect, Endpoint, Route } from '../exchange.ts'
import type { KeyPlaces, SocketReader } from '../nouns/socket-events.ts'
import { foreignHint } from './foreign.ts'
import {
  findMount,
  findPlace,
  type Mount,
  type Place,
  type RequestHead,
  targetParts,
} from './place.ts'
import { unknownRoute } from './unknown.ts'

export type { Mount, RequestHead } from './place.ts'

/** RFC 3986 path characters without `%` escapes other than the two that model names need. */
const PATH = /^\/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%3[aA]|%40)*$/
const TARGET_CHARACTERS_MAX = 2048

/**
 * Raw request target → dialect and endpoint. Nothing is normalised: a target an upstream might read
 * differently from us is refused. Throws TARGET_INVALID, QUERY_UNKNOWN (400), OPERATION_UNKNOWN,
 * UPGRADE_REFUSED (403), MODEL_INVALID (400), ROUTE_UNKNOWN (404), METHOD_NOT_ALLOWED (405).
 */
export function match(
  { method, target, headers }: RequestHead,
  mounts: readonly Mount[],
  unknown: 'allow' | 'deny' = 'deny',
): Route {
  const offers = offersWebSocket(method, headers)
  const { path, query } = splitTarget(offers ? plainTarget(target) : target)
  const { mount, below } = findMount(path, mounts)
  if (offers && mount?.tunnels === true) return matchTunnel(mount, below, query)
  if (offers) {
    const session = matchSession(below, query, mount === null ? mounts : [mount])
    if (session !== null) return { ...session, mount: nameOf(mount) }
    const unmounted = mount === null ? null : matchSession(path, query, mounts)
    if (unmounted !== null) return { ...unmounted, mount: null }
  }
  const place = findPlace({ method, headers, path }, { mount, below }, mounts)
  return matchCall({ method, headers, query, unknown }, place, mounts)
}

interface CallHead extends Omit<RequestHead, 'target'> {
  readonly query: string
  /** Whether endpoints that are in no table may be called. */
  readonly unknown: 'allow' | 'deny'
}

function nameOf(mount: Mount | null): string | null {
  return mount === null ? null : mount.name
}

function matchCall(
  { method, headers, query, unknown }: CallHead,
  { dialect, found, mount, below }: Place,
  mounts: readonly Mount[],
): Route {
  if (found.kind === 'outside') {
    throw new GovernorError('ROUTE_UNKNOWN', hinted(found.hint ?? foreign(below, mounts)))
  }
  if (found.kind === 'method') {
    const allow = found.allow.join(', ')
    throw new GovernorError('METHOD_NOT_ALLOWED', {
      detail: `it takes ${allow}`,
      headers: { allow },
    })
  }
  refuseUpgrade(headers, 'hint' in found ? found.hint : undefined)
  if (found.kind === 'unknown') {
    const hint = found.hint ?? foreign(below, mounts)
    return {
      ...matchUnknown({ method, below, query, unknown, hint }, dialect),
      mount: nameOf(mount),
    }
  }
  const { endpoint, pathModel, ids, sentAs = below } = found
  checkQuery(query, endpoint.query)
  return {
    endpoint,
    dialect,
    mount: nameOf(mount),
    path: query === '' ? sentAs : `${sentAs}?${query}`,
    pathModel,
    ...(ids !== undefined && { ids }),
  }
}

/** A path that is a common mistake is not another endpoint. */
function matchUnknown(
  {
    method,
    below,
    query,
    unknown,
    hint,
  }: Omit<CallHead, 'headers'> & { readonly below: string; readonly hint: string | undefined },
  dialect: Dialect,
): Omit<Route, 'mount'> {
  const passes = unknown === 'allow' && hint === undefined
  const route = passes ? unknownRoute(method, below, dialect) : null
  if (route === null) {
    throw new GovernorError('OPERATION_UNKNOWN', {
      headers: { 'x-should-retry': 'false' },
      ...hinted(hint),
    })
  }
  checkQuery(query, [])
  return route
}

/** A complete offer to speak WebSocket (RFC 6455 §4.2.1); anything less is no such offer. */
function offersWebSocket(method: string, headers: IncomingHttpHeaders): boolean {
  return (
    method === 'GET' &&
    headers.upgrade?.toLowerCase() === 'websocket' &&
    headers['sec-websocket-version'] === '13' &&
    /^[A-Za-z0-9+/]{22}==$/.test(headers['sec-websocket-key'] ?? '') &&
    /(?:^|,) *upgrade *(?:,|$)/i.test(headers.connection ?? '')
  )
}

/** Whether a request opens a session, so that its connection is no longer HTTP afterwards. */
export function opensSession(head: RequestHead, mounts: readonly Mount[]): boolean {
  if (!offersWebSocket(head.method, head.headers)) return false
  const { path } = targetParts(plainTarget(head.target))
  const { mount, below } = findMount(path, mounts)
  if (mount?.tunnels === true) return true
  if (mount !== null && readerOf(mount.dialect, below) !== null) return true
  return mounts.some(({ dialect }) => readerOf(dialect, path) !== null)
}

/** Whether a request that opens a session is sent on unread. */
export function opensTunnel({ target }: RequestHead, mounts: readonly Mount[]): boolean {
  return findMount(targetParts(plainTarget(target)).path, mounts).mount?.tunnels === true
}

/** Google's own client puts a slash too many before the path of its sessions. */
function plainTarget(target: string): string {
  return target.startsWith('//ws/') ? target.slice(1) : target
}

function readerOf({ sockets = [] }: Dialect, path: string): SocketReader | null {
  return sockets.find(({ paths }) => paths.has(path)) ?? null
}

/** The key that a client puts into its query, as `reader` says; null where there is none. */
export function offeredInQuery(target: string, { keyParameter }: KeyPlaces): string | null {
  if (keyParameter === '') return null
  const pairs = targetParts(target).query.split('&')
  const given = pairs.find((pair) => pair.startsWith(`${keyParameter}=`))
  return given === undefined ? null : given.slice(keyParameter.length + 1)
}

const PLAIN_NAME = /^[A-Za-z0-9_.-]{1,64}$/
/** Parameters in which services take a key; one that is none of ours must not pass, either. */
const KEY_NAME = /key|token|secret|auth|password|credential/i

/**
 * Any plain path below the mount of an upstream whose upgrades nobody reads. Its query is of plain words;
 * `model` in it is the model that policies see.
 */
function matchTunnel({ name, dialect }: Mount, below: string, query: string): Route {
  const { keyParameter = '', keySubprotocol = '' } = dialect.sockets?.[0] ?? {}
  const pairs = query === '' ? [] : query.split('&')
  const kept = pairs.filter((pair) => pair.split('=')[0] !== keyParameter)
  const names = kept.map((pair) => pair.split('=')[0]!)
  if (names.some((each) => !PLAIN_NAME.test(each) || KEY_NAME.test(each))) {
    const detail = 'plain names only, and no credential: send the key as a header'
    throw new GovernorError('QUERY_UNKNOWN', { detail })
  }
  checkQuery(query, [...names, keyParameter])
  const pathModel = kept.find((pair) => pair.startsWith('model='))?.slice('model='.length) ?? null
  return {
    endpoint: TUNNEL,
    dialect,
    mount: name,
    path: kept.length === 0 ? below : `${below}?${kept.join('&')}`,
    pathModel,
    tunnel: { keyParameter, keySubprotocol },
  }
}

const TUNNEL: Endpoint = {
  operation: 'realtime',
  api: 'tunnel',
  body: 'none',
  query: [],
  generates: false,
}

/** The first dialect that opens a session at this path; its query names one model, if any. */
function matchSession(
  path: string,
  query: string,
  mounts: readonly Mount[],
): Omit<Route, 'mount'> | null {
  for (const { dialect } of mounts) {
    const socket = readerOf(dialect, path)
    if (socket === null) continue
    const { endpoint, keyParameter } = socket
    checkQuery(query, keyParameter === '' ? endpoint.query : [...endpoint.query, keyParameter])
    // The key is the caller's, and goes no further.
    const kept = query.split('&').filter((pair) => pair.split('=')[0] !== keyParameter)
    const pathModel = socket.first === undefined ? queryModel(kept, socket.modelParameters) : null
    const sent = kept.join('&')
    return { endpoint, dialect, socket, path: sent === '' ? path : `${path}?${sent}`, pathModel }
  }
  return null
}

function queryModel(pairs: readonly string[], names: readonly string[]): string {
  const given = pairs.filter((pair) => names.includes(pair.split('=')[0]!))
  const model = given[0]?.slice(given[0].indexOf('=') + 1) ?? ''
  if (given.length === 1 && model !== '' && given[0]!.includes('=')) return model
  const detail = `a session names one model, as ?${names.join('= or ?')}=`
  throw new GovernorError('MODEL_INVALID', { detail, param: 'model' })
}

function foreign(path: string, mounts: readonly Mount[]): string | undefined {
  return foreignHint(
    path,
    mounts.map(({ dialect }) => dialect.name),
  )
}

function hinted(hint: string | undefined): { hint?: string } {
  return hint === undefined ? {} : { hint }
}

function splitTarget(target: string): { path: string; query: string } {
  const { path, query } = targetParts(target)
  if (target.length > TARGET_CHARACTERS_MAX) {
    throw new GovernorError('TARGET_INVALID', {
      detail: `longer than ${TARGET_CHARACTERS_MAX} characters`,
    })
  }
  // Absolute-form (RFC 9112 §3.2.2) would let the client name a host; ours is always the configured one.
  if (!PATH.test(path) || path.includes('//') || /(^|\/)\.{1,2}(\/|$)/.test(path)) {
    throw new GovernorError('TARGET_INVALID', {
      detail: 'it must be a plain path such as /v1/chat/completions',
      hint: 'No host, no empty or dot segments, no escaped separators',
    })
  }
  return { path, query }
}

/**
 * A client that asks for HTTP/2 on the way (Java's does by default) is answered in HTTP/1.1, as
 * RFC 9110 §7.8 allows; any other upgrade would leave the walk and is refused.
 */
function refuseUpgrade(headers: IncomingHttpHeaders, hint: string | undefined): void {
  const { upgrade } = headers
  if (upgrade !== undefined && upgrade.toLowerCase() !== 'h2c') {
    throw new GovernorError('UPGRADE_REFUSED', {
      headers: { 'x-should-retry': 'false' },
      ...hinted(hint),
    })
  }
}

/** Values of the parameters that are known: numbers, words, identifiers, dates. No text fits in. */
const QUERY_VALUE = /^[A-Za-z0-9._:@,~-]{0,256}$/

function checkQuery(query: string, accepted: readonly string[]): void {
  if (query === '') return
  const seen: string[] = []
  for (const pair of query.split('&')) {
    const mark = pair.indexOf('=')
    const name = mark === -1 ? pair : pair.slice(0, mark)
    if (!accepted.includes(name)) {
      // The name may be a credential (`?key=…`): it is neither echoed nor logged nor forwarded.
      throw new GovernorError('QUERY_UNKNOWN', {
        detail: accepted.length === 0 ? 'this path takes none' : `it takes ${accepted.join(', ')}`,
      })
    }
    const isList = name.endsWith(']') || name.endsWith('%5D')
    if (!isList && seen.includes(name)) {
      throw new GovernorError('QUERY_UNKNOWN', { detail: `${name} is sent twice` })
    }
    seen.push(name)
    if (mark !== -1 && !QUERY_VALUE.test(pair.slice(mark + 1))) {
      throw new GovernorError('QUERY_UNKNOWN', {
        detail: `the value of ${name} is not a plain word`,
      })
    }
  }
}
