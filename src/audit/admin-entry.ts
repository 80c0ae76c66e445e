import type { FoldedEntry } from './fold.ts'

/** Something a person did by the admin API, or was refused. */
export interface AdminAct {
  /** Of the request that asked for it. */
  readonly requestId: string
  /** Like `keys.create`. */
  readonly action: string
  /** Whose key it was. */
  readonly by: {
    readonly tenant: string
    readonly keyId: string
    readonly keyName: string
    readonly user: string
    readonly roles: readonly string[]
  }
  /** On what: ids and names, never a secret. */
  readonly about: Readonly<Record<string, string>>
  /** Why it was refused; absent where it was done. */
  readonly code?: string
}

const NAME_CHARS_MAX = 128
const ROLES_MAX = 16
const ABOUT_MAX = 16
/** Acts that change nothing are told one by one at most once in this time. */
const TOGETHER_MS = 10_000
/** Kinds of acts counted at once; what comes beyond is told by itself. */
const KINDS_MAX = 1_024

/** JSON of an entry `admin` of the admin API; `repeated` stands for as many acts alike. */
export function adminActBody(act: AdminAct, nowMs: number, repeated = 0): string {
  const { requestId, action, by, about, code } = act
  const { tenant, keyId, keyName, user, roles } = by
  const told = Object.entries(about).slice(0, ABOUT_MAX)
  return JSON.stringify({
    kind: 'admin',
    time: new Date(nowMs).toISOString(),
    request_id: repeated > 0 ? undefined : requestId,
    action,
    code,
    repeated: repeated > 0 ? repeated : undefined,
    by: {
      tenant: cut(tenant),
      key_id: cut(keyId),
      key_name: cut(keyName),
      user: user === '' ? undefined : cut(user),
      roles: roles.slice(0, ROLES_MAX).map(cut),
    },
    about:
      repeated > 0
        ? undefined
        : Object.fromEntries(told.map(([name, value]) => [name, cut(value)])),
  })
}

/** No lone surrogate and no NUL, which PostgreSQL's jsonb does not take. */
function cut(value: string): string {
  return value.slice(0, NAME_CHARS_MAX).toWellFormed().replaceAll('\0', '\u2400')
}

interface Window {
  readonly act: AdminAct
  readonly sinceMs: number
  count: number
}

/**
 * Keeps readers of the admin API, and those it refuses, from filling the log: the first act of its kind
 * by a key is an entry, those alike in the next 10 s are one more with `repeated`. What changes
 * something never comes here. Pure: `nowMs` is the wall clock, milliseconds since 1970.
 */
export class AdminFold {
  readonly #windows = new Map<string, Window>()

  /** Whether this act gets an entry of its own. */
  act(act: AdminAct, nowMs: number): 'record' | 'folded' {
    const { by, action, code = '' } = act
    const kind = `${by.keyId} ${action} ${code}`
    const window = this.#windows.get(kind)
    // One that is over and not yet told of goes on counting, so that nothing is lost.
    if (window !== undefined && (window.count > 0 || !isOver(window, nowMs))) {
      window.count++
      return 'folded'
    }
    if (window !== undefined || this.#windows.size < KINDS_MAX) {
      this.#windows.set(kind, { act, sinceMs: nowMs, count: 0 })
    }
    return 'record'
  }

  /** What has to be appended by now; mostly nothing. */
  due(nowMs: number): FoldedEntry[] {
    return this.#collect(nowMs, (window) => isOver(window, nowMs))
  }

  /** Everything that is still only counted; for the end. */
  drain(nowMs: number): FoldedEntry[] {
    return this.#collect(nowMs, () => true)
  }

  #collect(nowMs: number, isDue: (window: Window) => boolean): FoldedEntry[] {
    const entries: FoldedEntry[] = []
    for (const [kind, window] of this.#windows) {
      if (!isDue(window)) continue
      this.#windows.delete(kind)
      if (window.count === 0) continue
      const body = adminActBody(window.act, nowMs, window.count)
      entries.push({ kind: 'admin', occurredAtUs: nowMs * 1000, body })
    }
    return entries
  }
}

/** A clock that went backwards ends a window too. */
function isOver({ sinceMs }: Window, nowMs: number): boolean {
  return nowMs - sinceMs >= TOGETHER_MS || nowMs < sinceMs
}
