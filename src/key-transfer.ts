import { hash } from 'node:crypto'

import { keyRow } from './auth/key-file-row.ts'
import { type KeysFile, readKeysFile } from './auth/key-file.ts'
import { allKeys } from './auth/key-store.ts'
import { wallMs } from './clock.ts'
import type { KeyAdmin } from './key-admin.ts'
import { inTurns } from './turns.ts'

/** Keys carried from one store to another: their hashes, never their secrets, which nobody has. */

/**
 * Writes the keys of a store, or of one tenant, as a file of keys: what `import` reads, and the store
 * `file` as it is. Answers how many. The audit entry comes first; rejects with what store or log say.
 */
export async function exportKeys(
  { store, record }: KeyAdmin,
  tenant: string | null,
  write: (text: string) => void,
): Promise<number> {
  const about = { from: store.place, ...(tenant !== null && { tenant }) }
  await record('keys.export', about, wallMs())
  write('keys:\n')
  let count = 0
  for await (const key of allKeys(store, tenant)) {
    write(`  - ${keyRow(key)}\n`)
    count += 1
  }
  return count
}

/** What an import came to. */
export interface Imported {
  readonly added: number
  /** There already, and the same. */
  readonly same: number
  /** Ids of those that are there with another content, which stays. */
  readonly conflicts: readonly string[]
}

/**
 * Adds the keys of such a file to a store; safe to repeat. Rejects with a KeysFileError for a file that
 * cannot be read, and then nothing is added, or with what store or log say.
 */
export async function importKeys({ store, record }: KeyAdmin, text: string): Promise<Imported> {
  const { entries }: KeysFile = await inTurns(readKeysFile(text))
  const records = entries.map((entry) => entry.record)
  const about = { to: store.place, keys: String(records.length), sha256: hash('sha256', text) }
  await record('keys.import', about, wallMs())
  const results = await store.add(records)
  const count = (result: string) => results.filter((each) => each === result).length
  const conflicts = records.filter((_, index) => results[index] === 'conflict')
  return {
    added: count('added'),
    same: count('same'),
    conflicts: conflicts.map(({ keyId }) => keyId),
  }
}
