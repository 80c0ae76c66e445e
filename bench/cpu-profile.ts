import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { cwd } from 'node:process'

/** Time of one function, or of one folder. */
export interface Share {
  /** `decisionBody src/audit/entry.ts:39`; or a folder, a package, a part of Node. */
  readonly name: string
  readonly timeMs: number
}

export interface ProfileSummary {
  readonly busyMs: number
  readonly idleMs: number
  /** Time in the function itself, callees not counted. */
  readonly self: readonly Share[]
  /** The same by folder of src/, by package, or Node itself. */
  readonly places: readonly Share[]
  /** What functions of src/ spend themselves and in Node and packages they call. */
  readonly ours: readonly Share[]
}

/** The part of V8's .cpuprofile format that is read here. */
interface CpuProfile {
  readonly nodes: readonly CpuNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

interface CpuNode {
  readonly id: number
  readonly children?: readonly number[]
  readonly callFrame: {
    readonly functionName: string
    readonly url: string
    readonly lineNumber: number
  }
}

/** Sums a .cpuprofile. Its first `skipMs`, before the work began, are left out. */
export function summariseProfile(path: string, skipMs = 0): ProfileSummary {
  const profile = JSON.parse(readFileSync(path, 'utf8')) as CpuProfile
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const parents = new Map<number, CpuNode>()
  for (const node of profile.nodes) {
    for (const child of node.children ?? []) parents.set(child, node)
  }
  const [self, places, ours] = [new Sums(), new Sums(), new Sums()]
  let [atMs, idleMs, busyMs] = [0, 0, 0]
  for (const [index, id] of profile.samples.entries()) {
    const node = nodes.get(id)!
    const timeMs = (profile.timeDeltas[index + 1] ?? 0) / 1000
    atMs += timeMs
    if (atMs < skipMs) continue
    if (IDLE.has(node.callFrame.functionName)) {
      idleMs += timeMs
      continue
    }
    busyMs += timeMs
    self.add(nameOf(node), timeMs)
    places.add(placeOf(node), timeMs)
    ours.add(nearestOurs(node, parents), timeMs)
  }
  return { busyMs, idleMs, self: self.sorted(), places: places.sorted(), ours: ours.sorted() }
}

/** The summary's first `count` lines of each kind, for a terminal; `calls` to give µs a call. */
export function profileText(summary: ProfileSummary, count: number, calls: number): string {
  const { busyMs, idleMs, self, places, ours } = summary
  const table = (title: string, shares: readonly Share[]): string[] => [
    `\n${title}`,
    ...shares.slice(0, count).map(({ name, timeMs }) => {
      const percent = ((timeMs / busyMs) * 100).toFixed(1)
      const us = ((timeMs * 1000) / calls).toFixed(1)
      return `${percent.padStart(6)} % ${us.padStart(7)} µs  ${name}`
    }),
  ]
  return [
    `busy ${busyMs.toFixed(0)} ms, idle ${idleMs.toFixed(0)} ms; µs are per call`,
    ...table('by folder and package', places),
    ...table('our functions with the library code they call', ours),
    ...table('functions by themselves', self),
    '',
  ].join('\n')
}

const IDLE = new Set(['(idle)', '(program)'])
const OURS = /^src\//

class Sums {
  readonly #times = new Map<string, number>()

  add(name: string, timeMs: number): void {
    this.#times.set(name, (this.#times.get(name) ?? 0) + timeMs)
  }

  sorted(): Share[] {
    return [...this.#times]
      .map(([name, timeMs]) => ({ name, timeMs }))
      .sort((one, other) => other.timeMs - one.timeMs)
  }
}

function nearestOurs(node: CpuNode, parents: Map<number, CpuNode>): string {
  for (let at: CpuNode | undefined = node; at !== undefined; at = parents.get(at.id)) {
    if (OURS.test(short(at.callFrame.url))) return nameOf(at)
  }
  return `(no function of ours) ${placeOf(node)}`
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: CpuNode): string {
  const name = functionName || '(anonymous)'
  return url === '' ? name : `${name} ${short(url)}:${lineNumber + 1}`
}

function placeOf({ callFrame: { functionName, url } }: CpuNode): string {
  const path = short(url)
  if (path === '') return functionName.startsWith('(') ? functionName : 'native'
  if (path.startsWith('node:') || path.startsWith('wasm:')) return path.split('/')[0]!
  const [first, second] = path.split('/')
  const isPackage = /(?:^|\/)node_modules\/([^/]+)/.exec(path)
  if (isPackage !== null) return isPackage[1]!
  return first === 'src' && path.split('/').length > 2 ? `src/${second}` : path
}

function short(url: string): string {
  const path = url.startsWith('file://') ? url.slice('file://'.length) : url
  return path.startsWith('/') ? relative(cwd(), path) : path
}
