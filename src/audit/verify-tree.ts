import { existsSync, readFileSync, statSync } from 'node:fs'

import { type FleetRoot, readRootFile } from './fleet-root.ts'
import { CompactRange } from './merkle.ts'
import { type Checkpoint, fromBase64, isSignedBy, type Note, originOf, parseNote } from './note.ts'
import type { EntryRow } from './rows.ts'
import { keyListPath, type ListedKey, readKeyList } from './signing-key.ts'
import type { ParsedBody } from './verify-chain.ts'
import type { VerifyOptions } from './verify-types.ts'

/** What a verifier holds against a log from outside it. */
export interface Evidence {
  /** Public keys; null when there is no list, so that no signature can be checked. */
  readonly keys: readonly ListedKey[] | null
  /** Checkpoints that were kept elsewhere, the largest of each origin. */
  readonly published: ReadonlyMap<string, Checkpoint>
  /** Origins of those that this log's own sidecars published: their chains have to be in it. */
  readonly own: ReadonlySet<string>
  /** A published root of all writers, whose signature holds; null when none was given. */
  readonly root: FleetRoot | null
}

/** Nothing was kept outside the log. */
export const NO_EVIDENCE: Evidence = {
  keys: null,
  published: new Map(),
  own: new Set(),
  root: null,
}

/**
 * Reads the keys (those beside the log at `path`, if any, unless others are given) and what was published. What cannot
 * be read is told to `onUnreadable` with its path, and nothing is held against it.
 */
export function gatherEvidence(
  path: string | null,
  { keys, published, root }: VerifyOptions,
  onUnreadable: (file: string, why: string) => void,
): Evidence {
  const read = <Value>(file: string, value: Value, act: () => Value): Value => {
    try {
      return act()
    } catch (error) {
      onUnreadable(file, (error as Error).message)
      return value
    }
  }
  const given = keys ?? null
  const beside = path !== null && existsSync(keyListPath(path)) ? keyListPath(path) : null
  const list = given ?? beside
  const found = list === null ? null : read(list, null, () => readKeyList(list))
  const notes = new Map<string, Checkpoint>()
  const add = (each: Checkpoint) => {
    if (each.size > (notes.get(each.origin)?.size ?? 0)) notes.set(each.origin, each)
  }
  const checkpoints = published ?? null
  if (checkpoints !== null) {
    const known = read(checkpoints, new Map<string, Note>(), () =>
      readPublished(checkpoints, found),
    )
    known.forEach(add)
  }
  const own = new Set(notes.keys())
  const fleet =
    typeof root === 'string' ? read(root, null, () => readRootFile(root, found)) : (root ?? null)
  fleet?.leaves.forEach(add)
  return { keys: found, published: notes, own, root: fleet }
}

const PUBLISHED_BYTES_MAX = 256 * 1024 * 1024
const US_PER_MS = 1000

/** The Merkle tree of one chain while it is walked, held against each checkpoint in it. */
export class TreeCheck {
  readonly #origin: string
  readonly #evidence: Evidence
  readonly #published: Checkpoint | null
  #tree = new CompactRange()
  /** As of the last checkpoint, in which a range of the next one begins. */
  #atCheckpoint = new CompactRange()
  /** Entries that checkpoints with a good signature cover; 0 is none. */
  signedSize = 0
  /** Checkpoints that no key could be held against. */
  unchecked = 0
  /** An entry was altered or is missing, which is told of it: roots after it cannot agree. */
  broken = false
  #isPublishedMet = false

  constructor(writer: string, epoch: number, evidence: Evidence) {
    this.#origin = originOf(writer, epoch)
    this.#evidence = evidence
    this.#published = evidence.published.get(this.#origin) ?? null
  }

  /** Takes the hash of the next entry; what was published of a tree of this size has to agree. */
  add(hash: Uint8Array): string[] {
    this.#tree.add(hash)
    return this.#meetPublished()
  }

  /** Goes over entries that were pruned: a checkpoint brings the subtrees between it and the last. */
  skip(range: CompactRange): string[] {
    this.#tree = this.#atCheckpoint.copy()
    this.#tree.append(range)
    return this.#meetPublished()
  }

  /** Holds a checkpoint against the entries before it; says what does not hold. */
  checkpoint(row: EntryRow, body: ParsedBody): string[] {
    const note = typeof body.note === 'string' ? parseNote(body.note) : null
    if (note === null) return ['Its checkpoint is not a signed note']
    // Where the tree is known to be another, the signature still has to be good.
    const problems = this.broken ? [] : this.#treeProblems(note, row, body)
    const keys = this.#evidence.keys
    if (keys === null) this.unchecked++
    else problems.push(...signatureProblems(note, row.occurred_at / US_PER_MS, keys))
    if (problems.length === 0 && !this.broken) {
      this.#atCheckpoint = this.#tree.copy()
      if (keys !== null) this.signedSize = note.size
    }
    return problems
  }

  #treeProblems(note: Note, row: EntryRow, body: ParsedBody): string[] {
    if (note.origin !== this.#origin) return ['Its checkpoint is of another writer or epoch']
    if (note.size !== row.seq - 1 || body.size !== note.size) {
      return ['Its checkpoint covers another number of entries than lie before it']
    }
    if (!sameBytes(note.root, this.#tree.root())) {
      return ['Its checkpoint has another root than the entries before it']
    }
    if (this.#isConsistent(body, note)) return []
    return ['Its checkpoint does not continue the checkpoint before it']
  }

  /** What has to be said at the end of the chain. */
  end(): string[] {
    const published = this.#published
    if (published === null || this.#isPublishedMet || this.broken) return []
    return [`Entries are missing: a published checkpoint covers ${published.size}`]
  }

  /** Entries that a published checkpoint covers. */
  get publishedSize(): number {
    return this.#isPublishedMet ? (this.#published?.size ?? 0) : 0
  }

  #meetPublished(): string[] {
    const published = this.#published
    if (published === null || this.#isPublishedMet || this.broken) return []
    if (this.#tree.end > published.size) {
      // Only pruning goes past a size without stopping at it; the checkpoints beyond are signed.
      this.#isPublishedMet = true
      return []
    }
    if (this.#tree.end !== published.size) return []
    this.#isPublishedMet = true
    if (sameBytes(published.root, this.#tree.root())) return []
    return [`The entries up to here have another root than the checkpoint published of them`]
  }

  #isConsistent(body: ParsedBody, note: Note): boolean {
    const range = rangeOf(body, this.#atCheckpoint.end, note.size)
    if (range === null) return false
    const grown = this.#atCheckpoint.copy()
    grown.append(range)
    return sameBytes(grown.root(), note.root)
  }

  /** The subtrees a checkpoint of so many entries brings, when they begin at the last checkpoint. */
  rangeTo(size: number, body: ParsedBody): CompactRange | null {
    return rangeOf(body, this.#atCheckpoint.end, size)
  }
}

function rangeOf(body: ParsedBody, begin: number, end: number): CompactRange | null {
  if (!Array.isArray(body.range)) return null
  const hashes = body.range.map((each) => (typeof each === 'string' ? fromBase64(each, 32) : null))
  if (!hashes.every((each) => each !== null)) return null
  return CompactRange.of(begin, end, hashes)
}

function signatureProblems(note: Note, atMs: number, keys: readonly ListedKey[]): string[] {
  const named = keys.filter(({ id }) => note.signatures.some(({ keyId }) => keyId === id))
  if (named.length === 0) return ['Its checkpoint is signed by no key of the key list']
  const signers = named.filter(({ id, key }) => isSignedBy(note, key, id))
  if (signers.length < note.signatures.length) return ['The signature of its checkpoint is wrong']
  const isValid = ({ fromMs, untilMs }: ListedKey) =>
    fromMs <= atMs && (untilMs === null || atMs <= untilMs)
  if (signers.some(isValid)) return []
  return ['Its checkpoint is signed by a key that was not valid at its time']
}

/**
 * Reads a file of published checkpoints, signed notes with an empty line after each; keeps the
 * largest of each origin. One cut short by a crash at the end is left out, a wrong signature is not
 * believed. Throws an Error that names the file.
 */
export function readPublished(file: string, keys: readonly ListedKey[] | null): Map<string, Note> {
  let text: string
  try {
    if (statSync(file).size > PUBLISHED_BYTES_MAX) throw new Error('it is larger than 256 MiB')
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const why = (error as Error).message
    throw new Error(`Cannot read the published checkpoints ${file}: ${why}`, { cause: error })
  }
  const published = new Map<string, Note>()
  // A note holds one empty line; another follows it.
  for (const [written] of text.matchAll(/[^\n]+\n[^\n]+\n[^\n]+\n\n(?:— [^\n]+\n)+/g)) {
    const note = parseNote(written)
    if (note === null || note.size <= (published.get(note.origin)?.size ?? 0)) continue
    const isOurs = keys?.some(({ id, key }) => isSignedBy(note, key, id)) ?? true
    if (isOurs) published.set(note.origin, note)
  }
  return published
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
