import { statSync } from 'node:fs'

import { scanKind } from '../audit/query.ts'
import type { Problem } from '../config/problem.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { ruleDigest } from '../policy/rule.ts'

/** Longer than any trial takes. */
const LONG_MS = 60 * 86_400_000
/** Every entry is looked at; a log beyond this would make a check slow. */
const LOG_BYTES_MAX = 256 * 1024 * 1024

/**
 * Notes about policies in shadow that say since when, where the local audit knows: since the first of
 * the snapshots, without a gap up to now, that had the same rule in shadow. The audit may have
 * forgotten earlier ones. Without an audit, or with one too large to look through, `notes` as they are.
 */
export function withShadowSince(
  notes: readonly Problem[],
  snapshot: Snapshot,
  nowMs: number,
): readonly Problem[] {
  if (!snapshot.policies.some(({ mode }) => mode === 'shadow')) return notes
  const since = shadowSince(snapshot)
  return notes.map((note) => {
    const index = /^policies\[(\d+)\]\.mode$/.exec(note.path)?.[1]
    if (note.rule !== 'shadow' || index === undefined) return note
    const startMs = since.get(snapshot.policies[Number(index)]?.id ?? '')
    if (startMs === undefined || nowMs - startMs < LONG_MS) return note
    const day = new Date(startMs).toISOString().slice(0, 10)
    const days = Math.floor((nowMs - startMs) / 86_400_000)
    const message = `In shadow for ${days} days, since ${day} or longer: enforce it or remove it`
    return { ...note, message }
  })
}

/** Id of each policy in shadow, and the time of the first snapshot of its present trial. */
function shadowSince(snapshot: Snapshot): ReadonlyMap<string, number> {
  const since = new Map<string, number>()
  const loads = loadsOf(snapshot.audit.path)
  for (const policy of snapshot.policies) {
    if (policy.mode !== 'shadow') continue
    const rule = ruleDigest(policy, snapshot)
    for (const load of loads.toReversed()) {
      if (load.shadowed.get(policy.id) !== rule) break
      since.set(policy.id, load.timeMs)
    }
  }
  return since
}

interface Load {
  readonly timeMs: number
  /** Rule of each policy in shadow, by id. */
  readonly shadowed: ReadonlyMap<string, string>
}

/** What decided, oldest first; nothing where there is no log that can be read. */
function loadsOf(path: string): Load[] {
  const loads: Load[] = []
  try {
    if (statSync(path).size > LOG_BYTES_MAX) return []
    scanKind(path, 'policy.load', (body) => {
      const load = readLoad(body)
      if (load !== null) loads.push(load)
    })
  } catch {
    return []
  }
  return loads.sort((a, b) => a.timeMs - b.timeMs)
}

interface LoadBody {
  readonly time?: unknown
  readonly role?: unknown
  readonly policies?: unknown
}

interface LoadedPolicy {
  readonly id?: unknown
  readonly mode?: unknown
  readonly rule?: unknown
}

/** Null for a candidate's, which never decided, and for what is no such entry. */
function readLoad(json: string): Load | null {
  try {
    const { time, role, policies } = JSON.parse(json) as LoadBody
    const timeMs = Date.parse(String(time))
    if (role === 'candidate' || Number.isNaN(timeMs) || !Array.isArray(policies)) return null
    const listed = policies as readonly LoadedPolicy[]
    const shadowed = listed.filter(({ mode }) => mode === 'shadow')
    return { timeMs, shadowed: new Map(shadowed.map(({ id, rule }) => [String(id), String(rule)])) }
  } catch {
    return null
  }
}
