import { FileKeys } from './auth/file-keys.ts'
import { SqliteKeyStore } from './auth/key-store-sqlite.ts'
import type { KeySource } from './auth/key-store.ts'
import type { Snapshot } from './config/snapshot.ts'
import type { Log } from './log.ts'

/**
 * What a running process reads keys from, of the store that the configuration names. Rejects with an
 * Error that names what cannot be opened.
 */
export async function openKeySource({ auth: { keys } }: Snapshot, log: Log): Promise<KeySource> {
  const { store, path, postgres } = keys
  if (store === 'file') return FileKeys.open(path, log)
  if (postgres === undefined) return SqliteKeyStore.open(path)
  // The client of PostgreSQL is loaded by those who have one.
  const { SyncedKeys } = await import('./auth/synced-keys.ts')
  return SyncedKeys.open({ ...postgres, path, log })
}
