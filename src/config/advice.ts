import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'

import type { Path } from './problem.ts'
import type { Snapshot } from './snapshot.ts'
import { formatSize } from './units.ts'

/** Both entries of one call, at most; what the audit log is sized by. */
const CALL_ENTRY_BYTES = 2048
/** `TMPFS_MAGIC` and `RAMFS_MAGIC` of Linux, statfs(2). */
const MEMORY_FILESYSTEMS: ReadonlySet<number> = new Set([0x01021994, 0x858458f6])

/** One piece of advice about a file that loads: where (a path in it) and what. */
export interface Advice {
  readonly path: Path
  readonly message: string
  /** The lint rule that says so. */
  readonly rule?: string
}

/**
 * What a careful reader would ask about a configuration that is correct. Stops nothing. Looks at the
 * file system only where the audit log will be.
 */
export function advise(snapshot: Snapshot): Advice[] {
  return [
    ...snapshot.upstreams.flatMap(adviseUpstream),
    ...adviseNames(snapshot),
    ...advisePolicies(snapshot),
    ...adviseStore(snapshot),
    ...adviseAudit(snapshot),
    ...adviseUnrecorded(snapshot),
    ...adviseContent(snapshot),
    ...adviseShipping(snapshot),
    ...adviseIssuers(snapshot),
  ]
}

function adviseUpstream(upstream: Snapshot['upstreams'][number], index: number): Advice[] {
  const advice: Advice[] = []
  if (upstream.url.startsWith('echo:')) return advice
  const fetches = upstream.aws?.chain !== undefined || upstream.azure !== undefined
  if (upstream.credential === null && !fetches) {
    const message = `No credential: calls to "${upstream.name}" go out without one`
    advice.push({ path: ['upstreams', index, 'credential'], message })
  }
  if (upstream.url.endsWith('/v1')) {
    const message = 'Ends in /v1, which the call brings too: it would go to /v1/v1/…'
    advice.push({ path: ['upstreams', index, 'url'], message })
  }
  if (upstream.url.startsWith('http:') && upstream.credential !== null) {
    const message = 'Plain http: the credential can be read on the way'
    advice.push({ path: ['upstreams', index, 'url'], message })
  }
  return advice
}

/** Azure's paths begin like the mount of an upstream that has the most natural name for OpenAI's. */
function adviseNames({ upstreams }: Snapshot): Advice[] {
  const index = upstreams.findIndex(({ name, dialect }) => {
    return name === 'openai' && dialect !== 'azure-openai'
  })
  if (index === -1 || !upstreams.some(({ dialect }) => dialect === 'azure-openai')) return []
  const message = "Azure's /openai/v1/… comes here too, as /<name>/v1/…: take another name"
  return [{ path: ['upstreams', index, 'name'], message }]
}

function advisePolicies({ policies, defaults, upstreams }: Snapshot): Advice[] {
  const grants = policies.some(({ verb, mode }) => verb === 'allow' && mode === 'enforce')
  const advice: Advice[] = []
  if (!grants && defaults.decision === 'deny') {
    const message = 'Every call will be refused: no enforced policy allows anything'
    advice.push({ path: ['policies'], message })
  }
  const lists = [
    ...policies.map(({ verb, selectors }, index) => ({
      models: selectors.models,
      path: ['policies', index, verb, 'models'],
    })),
    ...upstreams.map(({ models }, index) => ({ models, path: ['upstreams', index, 'models'] })),
  ]
  for (const { models, path } of lists) {
    const twice = models?.find((model, index) => models.indexOf(model) !== index)
    if (twice !== undefined)
      advice.push({ path, message: `${JSON.stringify(twice)} is there twice` })
  }
  return advice
}

function adviseStore({ auth, limits, limitStore }: Snapshot): Advice[] {
  if (auth.pod === null || limits.length === 0 || limitStore !== 'memory') return []
  const message = `Limits in "${limitStore}" are not shared: each pod counts for itself`
  return [{ path: ['limits'], message }]
}

function adviseAudit({ audit }: Snapshot): Advice[] {
  const type = filesystemType(dirname(audit.path))
  if (type === null || !MEMORY_FILESYSTEMS.has(type)) return []
  const message = 'The log would be kept in memory (tmpfs): a restart loses it, use a disk'
  return [{ path: ['audit', 'path'], message }]
}

function adviseContent({ audit }: Snapshot): Advice[] {
  if (audit.content !== 'full') return []
  const message =
    'Prompts and answers are kept: whoever can read the file of audit.path has their keys too'
  return [{ path: ['audit', 'content'], message }]
}

function adviseUnrecorded({ audit }: Snapshot): Advice[] {
  if (audit.required) return []
  const message = 'While the log cannot be written calls go on without a record'
  return [{ path: ['audit', 'required'], message }]
}

/** Hosts for which nobody is on the way; an empty one is a socket of this machine. */
const LOCAL = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])?$/

function adviseShipping({ audit: { ship } }: Snapshot): Advice[] {
  if (ship === null || !URL.canParse(ship.url)) return []
  const url = new URL(ship.url)
  if (LOCAL.test(url.hostname)) return []
  if (ship.kind === 'http') {
    if (url.protocol !== 'http:') return []
    const message = 'Plain http: entries can be read on the way'
    return [{ path: ['audit', 'ship', 'http', 'url'], message }]
  }
  const mode = url.searchParams.get('sslmode')
  if (mode !== null && mode !== 'disable') return []
  const message =
    'Without TLS: entries and password can be read on the way, add ?sslmode=verify-full'
  return [{ path: ['audit', 'ship'], message }]
}

/** Claims that hold an address or a name of a person (OpenID Connect Core §5.1; Entra ID's `upn`). */
const PERSONAL_CLAIM = /^(?:e?mail|upn|preferred_username|unique_name|name)$/i

function adviseIssuers({ auth }: Snapshot): Advice[] {
  return auth.jwt.flatMap(({ claims }, index) => {
    if (!PERSONAL_CLAIM.test(claims.user)) return []
    const message =
      'Names a person: every entry keeps it as it is, and audit erase cannot take it out; use an id, like sub'
    return [{ path: ['auth', 'jwt', index, 'claims', 'user'], message }]
  })
}

/** Of the directory, or of the nearest one above that exists already. */
function filesystemType(directory: string): number | null {
  try {
    return statfsSync(directory).type
  } catch {
    const above = dirname(directory)
    return above === directory ? null : filesystemType(above)
  }
}

/** `about 524,288 calls fit in audit.local_max 1GiB`. */
export function capacityText(snapshot: Snapshot): string {
  const calls = Math.floor(snapshot.audit.localBytesMax / CALL_ENTRY_BYTES).toLocaleString('en-US')
  const room = formatSize(snapshot.audit.localBytesMax)
  return `about ${calls} calls fit in audit.local_max ${room}`
}
