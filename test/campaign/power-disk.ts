import { randomFillSync } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import type { Seeded } from '../support/seeded.ts'
import type { DiskEvent } from './power-trace.ts'

/**
 * A disk as POSIX promises it and no better: of a file only what fsync confirmed is there after the
 * power went, of what came later any part; of a directory only names that fsync of that directory confirmed.
 * What an fsync that failed should have written may be there or not for good, even when the next
 * one ends well. A sector of 512 bytes is written whole or not, and no other with it.
 */

interface Write {
  readonly kind: 'write'
  readonly offset: number
  readonly data: Buffer
  order: number
  doubtful: boolean
}

interface Cut {
  readonly kind: 'cut'
  readonly size: number
  order: number
  doubtful: boolean
}

type Operation = Write | Cut

interface Inode {
  durable: Buffer
  size: number
  pending: Operation[]
}

interface NameChange {
  readonly directory: string
  readonly names: readonly (readonly [path: string, inode: Inode | 'directory' | null])[]
  order: number
  doubtful: boolean
}

/** What is done with what was never confirmed. */
export type Loss = 'nothing kept' | 'everything kept' | 'some kept' | 'torn at one point'
export const LOSSES: readonly Loss[] = [
  'nothing kept',
  'everything kept',
  'some kept',
  'torn at one point',
]

const SECTOR_BYTES = 512

/** Follows a trace below `root`, and makes the disk anew as it may be found after a power loss. */
export class PowerDisk {
  readonly #root: string
  readonly #live = new Map<string, Inode | 'directory'>()
  readonly #durable = new Map<string, Inode | 'directory'>()
  #changes: NameChange[] = []
  readonly #begun = new Map<string, number>()
  #order = 0

  constructor(root: string) {
    this.#root = root
  }

  take(event: DiskEvent): void {
    this.#order++
    switch (event.kind) {
      case 'create':
        return this.#create(event.path, event.truncates)
      case 'write':
        return this.#write(event.path, event.offset, event.data)
      case 'truncate':
        return this.#cut(event.path, event.size)
      case 'mkdir':
        return this.#name([[event.path, 'directory']])
      case 'unlink':
        return this.#name([[event.path, null]])
      case 'rename':
      case 'link':
        return this.#move(event.from, event.to, event.kind === 'rename')
      case 'sync begins':
        this.#begun.set(event.pid, this.#order)
        return
      case 'sync ends':
        return this.#sync(event.path, this.#begun.get(event.pid) ?? 0, event.well)
      case 'said':
    }
  }

  /** Writes the disk into `directory`, which is emptied first. */
  rebuild(directory: string, loss: Loss, random: Seeded): void {
    rmSync(directory, { recursive: true, force: true })
    mkdirSync(directory, { recursive: true })
    const names = new Map(this.#durable)
    for (const change of survivors(this.#changes, loss, random)) apply(names, change)
    for (const [path, inode] of names) {
      if (inode === 'directory' || !this.#isReachable(path, names)) continue
      // The index of the write-ahead log has no value after a crash, whatever it holds.
      const content = path.endsWith('-shm') ? noise(32_768) : contentOf(inode, loss, random)
      const target = join(directory, path.slice(this.#root.length))
      mkdirSync(dirname(target), { recursive: true })
      writeFileSync(target, content, { mode: 0o600 })
    }
  }

  #isReachable(path: string, names: ReadonlyMap<string, Inode | 'directory'>): boolean {
    const parent = dirname(path)
    if (parent === this.#root || parent === dirname(parent)) return true
    return names.has(parent) && this.#isReachable(parent, names)
  }

  #create(path: string, truncates: boolean): void {
    if (!path.startsWith(`${this.#root}/`)) return
    const found = this.#live.get(path)
    if (found === undefined) {
      this.#name([[path, { durable: Buffer.alloc(0), size: 0, pending: [] }]])
    } else if (truncates) {
      this.#cut(path, 0)
    }
  }

  #name(names: NameChange['names']): void {
    const [first] = names
    if (first === undefined || !first[0].startsWith(`${this.#root}/`)) return
    const directory = dirname(first[0])
    const change = { directory, names, order: this.#order, doubtful: false }
    apply(this.#live, change)
    this.#changes.push(change)
  }

  #move(from: string, to: string, removes: boolean): void {
    const inode = this.#live.get(from)
    if (inode === undefined) return
    this.#name([[to, inode], ...(removes ? [[from, null] as const] : [])])
  }

  #write(path: string, offset: number | null, data: Buffer): void {
    const inode = this.#fileAt(path)
    if (inode === null) return
    const at = offset ?? inode.size
    const write = { kind: 'write', offset: at, data, order: this.#order, doubtful: false } as const
    inode.pending.push({ ...write })
    inode.size = Math.max(inode.size, at + data.length)
  }

  #cut(path: string, size: number): void {
    const inode = this.#fileAt(path)
    if (inode === null) return
    inode.pending.push({ kind: 'cut', size, order: this.#order, doubtful: false })
    inode.size = size
  }

  #fileAt(path: string): Inode | null {
    const inode = this.#live.get(path)
    return inode === undefined || inode === 'directory' ? null : inode
  }

  #sync(path: string, begun: number, well: boolean): void {
    const inode = this.#fileAt(path)
    if (inode !== null) {
      for (const each of inode.pending) if (!well && each.order < begun) each.doubtful = true
      if (well) confirm(inode, begun)
      return
    }
    const mine = (change: NameChange) => change.directory === path && change.order < begun
    for (const change of this.#changes) if (!well && mine(change)) change.doubtful = true
    if (!well) return
    for (const change of this.#changes) if (mine(change)) apply(this.#durable, change)
    this.#changes = this.#changes.filter((change) => !mine(change))
  }
}

function apply(names: Map<string, Inode | 'directory'>, { names: changed }: NameChange): void {
  for (const [path, inode] of changed) {
    if (inode === null) names.delete(path)
    else names.set(path, inode)
  }
}

function confirm(inode: Inode, begun: number): void {
  const confirmed = inode.pending.filter(({ order, doubtful }) => order < begun && !doubtful)
  if (confirmed.length > 0) inode.durable = applied(inode.durable, confirmed)
  const rest = inode.pending.filter((each) => !confirmed.includes(each))
  // A later write that was confirmed hides what is in doubt below it.
  inode.pending = confirmed.reduce((left, each) => left.flatMap((one) => hidden(one, each)), rest)
}

function hidden(below: Operation, above: Operation): Operation[] {
  if (!below.doubtful || below.kind === 'cut') return [below]
  const end = below.offset + below.data.length
  const from = above.kind === 'cut' ? above.size : above.offset
  const to = above.kind === 'cut' ? Infinity : above.offset + above.data.length
  if (to <= below.offset || from >= end) return [below]
  const parts: Operation[] = []
  const part = (start: number, stop: number) => {
    if (stop <= start) return
    const data = below.data.subarray(start - below.offset, stop - below.offset)
    parts.push({ ...below, offset: start, data })
  }
  part(below.offset, from)
  part(to, end)
  return parts
}

function applied(content: Buffer, operations: readonly Operation[]): Buffer {
  let size = content.length
  let room = size
  for (const each of operations) {
    size = each.kind === 'cut' ? each.size : Math.max(size, each.offset + each.data.length)
    room = Math.max(room, size)
  }
  const made = Buffer.alloc(room)
  content.copy(made)
  for (const each of operations) {
    if (each.kind === 'cut') made.fill(0, each.size)
    else each.data.copy(made, each.offset)
  }
  return made.subarray(0, size)
}

/** Which of what is pending reached the disk. */
function survivors<Item>(items: readonly Item[], loss: Loss, random: Seeded): readonly Item[] {
  if (loss === 'everything kept') return items
  if (loss === 'nothing kept') return []
  if (loss === 'some kept') return items.filter(() => random.next() < 0.5)
  return items.slice(0, Math.floor(random.between(0, items.length + 1)))
}

function contentOf(inode: Inode, loss: Loss, random: Seeded): Buffer {
  const whole = loss === 'some kept' ? inode.pending : survivors(inode.pending, loss, random)
  const kept = loss === 'some kept' ? someSectors(inode, random) : [...whole]
  const next = inode.pending[kept.length]
  if (loss === 'torn at one point' && next?.kind === 'write') {
    const bytes = Math.floor(random.between(0, next.data.length / SECTOR_BYTES)) * SECTOR_BYTES
    const upTo = Math.min(next.data.length, SECTOR_BYTES - (next.offset % SECTOR_BYTES) + bytes)
    kept.push({ ...next, data: next.data.subarray(0, upTo) })
  }
  return applied(inode.durable, kept)
}

/** Half of the sectors; where the file grew, some of the others hold what lay there before. */
function someSectors({ durable, pending }: Inode, random: Seeded): Operation[] {
  const kept: Operation[] = []
  for (const operation of pending) {
    if (operation.kind === 'cut') {
      if (random.next() < 0.5) kept.push(operation)
      continue
    }
    const end = operation.offset + operation.data.length
    for (let at = operation.offset; at < end;) {
      const next = Math.min(end, at - (at % SECTOR_BYTES) + SECTOR_BYTES)
      const data = operation.data.subarray(at - operation.offset, next - operation.offset)
      const chance = random.next()
      if (chance < 0.5) kept.push({ ...operation, offset: at, data })
      else if (chance > 0.9 && at >= durable.length) {
        kept.push({ ...operation, offset: at, data: noise(data.length) })
      }
      at = next
    }
  }
  return kept
}

function noise(bytes: number): Buffer {
  return randomFillSync(Buffer.alloc(bytes))
}
