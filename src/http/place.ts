import type { IncomingHttpHeaders } from 'node:http'

import type { Dialect, Lookup } from '../exchange.ts'

/** Where a raw request target lies: below which mount, and whose path it is. Nothing here throws. */

/** An upstream as match sees it. */
export interface Mount {
  readonly name: string
  readonly dialect: Dialect
  /** Upgrades below it are sent on unread. */
  readonly tunnels?: boolean
}

/** What match looks at: the request line as it came, and the headers. */
export interface RequestHead {
  readonly method: string
  readonly target: string
  readonly headers: IncomingHttpHeaders
}

/** What a dialect says of a path, and below which mount it is. */
export interface Place {
  readonly dialect: Dialect
  readonly found: Lookup
  readonly mount: Mount | null
  /** The path below the mount. */
  readonly below: string
}

/**
 * A mount goes first. Where its dialect does not know what is below, the name is only alike to where
 * another dialect begins: `/openai/deployments/…` is Azure's, beside an upstream that is named `openai`.
 */
export function findPlace(
  { method, headers, path }: Omit<RequestHead, 'target'> & { readonly path: string },
  { mount, below }: Pick<Place, 'mount' | 'below'>,
  mounts: readonly Mount[],
): Place {
  if (mount === null) return { ...lookupAll(method, path, mounts, headers), mount, below }
  const own = lookup(method, below, [mount])
  if (own.found.kind !== 'outside') return { ...own, mount, below }
  const other = lookupAll(method, path, mounts, headers)
  if (other.found.kind === 'outside') return { ...own, mount, below }
  return { ...other, mount: null, below: path }
}

/**
 * The dialect whose shape an answer wears where no route was found: that of the mount, of the client's
 * mark, or of the first upstream that knows the path best.
 */
export function dialectFor(
  { method, target, headers }: RequestHead,
  mounts: readonly Mount[],
): Dialect {
  const { path } = targetParts(target)
  const { dialect, found, mount } = findPlace(
    { method, headers, path },
    findMount(path, mounts),
    mounts,
  )
  const isSure = mount !== null || found.kind === 'endpoint' || found.kind === 'method'
  if (isSure) return dialect
  return mounts.find((each) => isMarked(each.dialect, headers))?.dialect ?? dialect
}

/** A path that two dialects share is that one's whose mark the client sends, else the first upstream's. */
function lookupAll(
  method: string,
  path: string,
  mounts: readonly Mount[],
  headers: IncomingHttpHeaders,
): { dialect: Dialect; found: Lookup } {
  for (const { dialect } of mounts) {
    if (!isMarked(dialect, headers)) continue
    const found = dialect.lookup(method, path)
    if (found.kind === 'endpoint' || found.kind === 'method') return { dialect, found }
    // What this provider's own client may not do here is not done at another provider instead.
    if (found.kind === 'unknown' && found.hint !== undefined) return { dialect, found }
  }
  return lookup(method, path, mounts)
}

/**
 * The first upstream whose dialect knows the path decides, one that has the path itself before one for
 * which it is another spelling; else the best reason for a refusal.
 */
function lookup(
  method: string,
  path: string,
  mounts: readonly Mount[],
): { dialect: Dialect; found: Lookup } {
  const answers = mounts.map(({ dialect }) => ({ dialect, found: dialect.lookup(method, path) }))
  const exact = answers.find(({ found }) => found.kind === 'endpoint' && !('sentAs' in found))
  if (exact !== undefined) return exact
  for (const kind of ['endpoint', 'method', 'unknown'] as const) {
    const answer = answers.find(({ found }) => found.kind === kind)
    if (answer !== undefined) return answer
  }
  return answers.find(({ found }) => 'hint' in found) ?? answers[0]!
}

function isMarked({ mark }: Dialect, headers: IncomingHttpHeaders): boolean {
  return mark !== undefined && headers[mark] !== undefined
}

/** The mount a path is below, if any, and the path as seen from there. */
export function findMount(
  path: string,
  mounts: readonly Mount[],
): { mount: Mount | null; below: string } {
  for (const mount of mounts) {
    if (path.startsWith(`/${mount.name}/`)) {
      return { mount, below: path.slice(mount.name.length + 1) }
    }
  }
  return { mount: null, below: path }
}

/** A raw target at its first `?`. */
export function targetParts(target: string): { path: string; query: string } {
  const mark = target.indexOf('?')
  if (mark === -1) return { path: target, query: '' }
  return { path: target.slice(0, mark), query: target.slice(mark + 1) }
}
