import { publishedRoot } from '../audit/fleet-publish.ts'
import { type FleetRoot, isRootSigned } from '../audit/fleet-root.ts'
import { keyListPath, readKeyList } from '../audit/signing-key.ts'
import type { Snapshot } from '../config/snapshot.ts'

/**
 * The root of `audit.root`, from its file, else its URL, signed by a key that is known: of `keys`, else of
 * `audit.root.keys`, else of the list beside the log. Null where the configuration names no place. Rejects
 * with an Error that says so when there is none, when it cannot be read, or nobody known signed it.
 */
export async function publishedRootOf(
  { audit }: Snapshot,
  keys: string | null = null,
): Promise<FleetRoot | null> {
  const { root: place, path } = audit
  if (place.file === null && place.url === null) return null
  const root = await publishedRoot(place)
  if (root === null) {
    throw new Error('no root is published (audit.root). Run governor audit publish')
  }
  const list = keys ?? place.keys ?? keyListPath(path)
  if (!isRootSigned(root, readKeyList(list))) {
    throw new Error(`the published root is signed by no key of ${list} (audit.root)`)
  }
  return root
}
