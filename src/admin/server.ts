import type { KeyStore } from '../auth/key-store.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { openKeyStore } from '../key-admin.ts'
import type { PoolState } from '../metrics.ts'
import type { Reloaded } from '../reload.ts'
import type { Shared } from '../stages/stages.ts'
import { AdminApi } from './api.ts'
import { auditHandlers } from './audit.ts'
import { configHandlers } from './config.ts'
import { keyHandlers } from './keys.ts'
import { AuditReader } from './reader.ts'

/** What a desk is told of its Governor. */
export interface DeskParts {
  /** What the process began with: the key store is not opened again by a reload. */
  readonly start: Snapshot
  /** What is in force. */
  readonly snapshot: () => Snapshot
  /** Looks for changes of keys at once. */
  readonly keysChanged: () => void
}

/** The admin API of a running Governor, and what it has open. */
export class AdminDesk {
  readonly api: AdminApi
  readonly #reader = new AuditReader()
  /** Apart, so that a database that is slow keeps nobody waiting who asks about the log. */
  readonly #remoteReader = new AuditReader()
  readonly #start: Snapshot
  #store: Promise<KeyStore> | null = null
  #reload: (() => Promise<Reloaded>) | null = null

  constructor(shared: Shared, { start, snapshot, keysChanged }: DeskParts) {
    this.#start = start
    const { ring, recorder, log, limits } = shared
    const keys = () => this.#keys()
    this.api = new AdminApi({
      ring,
      recorder,
      log,
      handlers: {
        ...keyHandlers({
          store: keys,
          bcryptCost: start.auth.keys.bcryptCost,
          changed: keysChanged,
        }),
        ...configHandlers({ snapshot, limits, keys, reload: () => this.#reload }),
        ...auditHandlers({
          snapshot,
          ask: (question) => {
            const reader = question.kind === 'remote' ? this.#remoteReader : this.#reader
            return reader.ask(question)
          },
        }),
      },
    })
  }

  /** Of the thread that reads PostgreSQL. */
  get connections(): PoolState {
    return this.#remoteReader.connections
  }

  /** Who reads the file again when somebody asks for it. */
  reloadBy(reload: () => Promise<Reloaded>): void {
    this.#reload = reload
  }

  async close(): Promise<void> {
    await Promise.all([this.#reader.close(), this.#remoteReader.close()])
    const store = await this.#store?.catch(() => null)
    await store?.close()
  }

  /** Opened by the first who asks; one that cannot be opened is tried again by the next. */
  #keys(): Promise<KeyStore> {
    this.#store ??= openKeyStore(this.#start).catch((error: unknown) => {
      this.#store = null
      throw error
    })
    return this.#store
  }
}
