import { readFileSync, statSync } from 'node:fs'

import { CompactRange } from './merkle.ts'
import { type Checkpoint, fromBase64, isSignedBy, type Note, parseNote } from './note.ts'
import type { ListedKey, Signer } from './signing-key.ts'

/**
 * One root over all writers: the RFC 6962 tree whose leaves are the latest checkpoints, sorted by origin,
 * signed as a C2SP note of `governor/fleet`. Behind the note and an empty line stand the leaves,
 * `<origin> <entries> <root>`, so that a verifier can say which writer is missing or was cut short.
 */

/** Names the tree of all writers. */
export const FLEET_ORIGIN = 'governor/fleet'
const LEAF_ORIGIN = /^governor\/audit\/[0-9a-f]{32}\/\d{1,10}$/
const LEAF = /^(\S+) (0|[1-9]\d{0,15}) (\S{44})$/
/** Two million writers. */
export const ROOT_BYTES_MAX = 256 * 1024 * 1024

/** A root as it was read: what its tree is made of is what its note says. */
export interface FleetRoot {
  readonly note: Note
  /** By origin. */
  readonly leaves: ReadonlyMap<string, Checkpoint>
}

/** What a checkpoint says, as it is signed: the leaf of its writer. */
function leafText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`
}

function rootOf(leaves: readonly Checkpoint[]): Uint8Array {
  const tree = new CompactRange()
  for (const leaf of leaves) tree.add(Buffer.from(leafText(leaf)))
  return tree.root()
}

/** Signs a root over these checkpoints, one of each origin. */
export function signRoot(checkpoints: Iterable<Checkpoint>, signer: Pick<Signer, 'sign'>): string {
  const leaves = [...checkpoints].sort((a, b) => (a.origin < b.origin ? -1 : 1))
  const note = signer.sign({ origin: FLEET_ORIGIN, size: leaves.length, root: rootOf(leaves) })
  const lines = leaves.map(
    ({ origin, size, root }) => `${origin} ${size} ${Buffer.from(root).toString('base64')}\n`,
  )
  return `${note}\n${lines.join('')}`
}

/** Reads what `signRoot` wrote; throws an Error that says what is wrong with it. Believes no signature. */
export function parseRoot(text: string): FleetRoot {
  // The note has one empty line of its own, before its signatures.
  const end = text.indexOf('\n\n', text.indexOf('\n\n') + 2)
  const note = end === -1 ? null : parseNote(text.slice(0, end + 1))
  if (note === null || note.origin !== FLEET_ORIGIN) throw new Error('it is no root of all writers')
  const leaves = parseLeaves(text.slice(end + 2))
  const root = rootOf([...leaves.values()])
  if (leaves.size === note.size && Buffer.compare(root, note.root) === 0) return { note, leaves }
  throw new Error('its writers are not those its root is over')
}

function parseLeaves(text: string): Map<string, Checkpoint> {
  const leaves = new Map<string, Checkpoint>()
  let former = ''
  const lines = text.split('\n')
  if (lines.pop() !== '') throw new Error('it is cut short')
  for (const line of lines) {
    const [, origin = '', size, coded = ''] = LEAF.exec(line) ?? []
    const root = fromBase64(coded, 32)
    if (!LEAF_ORIGIN.test(origin) || root === null || origin <= former) {
      throw new Error('its writers are not a sorted list of checkpoints')
    }
    leaves.set(origin, { origin, size: Number(size), root })
    former = origin
  }
  return leaves
}

/** Whether one of these keys signed the root. */
export function isRootSigned({ note }: FleetRoot, keys: readonly ListedKey[]): boolean {
  return keys.some(({ id, key }) => isSignedBy(note, key, id))
}

/**
 * Reads a published root from a file. Throws an Error when it cannot be read, is damaged, or, where there
 * are keys, signed by none of them.
 */
export function readRootFile(file: string, keys: readonly ListedKey[] | null): FleetRoot {
  try {
    if (statSync(file).size > ROOT_BYTES_MAX) throw new Error('it is larger than 256 MiB')
    const root = parseRoot(readFileSync(file, 'utf8'))
    if (keys !== null && !isRootSigned(root, keys)) throw new Error('it is signed by no known key')
    return root
  } catch (error) {
    const why = (error as Error).message
    throw new Error(`Cannot use the published root ${file}: ${why}`, { cause: error })
  }
}

/** What a newer root takes back of an older one: a writer that is gone, a chain that is shorter. */
export function takenBack(former: FleetRoot, current: ReadonlyMap<string, Checkpoint>): string[] {
  const found: string[] = []
  for (const [origin, { size, root }] of former.leaves) {
    const now = current.get(origin)
    if (now === undefined) found.push(`${origin}: ${size} entries were published, and it is gone`)
    else if (now.size < size) {
      found.push(
        `${origin}: ${size} entries were published, and its last checkpoint covers ${now.size}`,
      )
    } else if (now.size === size && Buffer.compare(now.root, root) !== 0) {
      found.push(`${origin}: its ${size} entries are others than those that were published`)
    }
  }
  return found
}
