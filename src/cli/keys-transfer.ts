import { escapeText } from '../audit/format.ts'
import { read } from '../auth/file-keys.ts'
import { KeyStoreReadOnlyError } from '../auth/key-store.ts'
import { commandAdmin } from '../key-admin.ts'
import { exportKeys, importKeys } from '../key-transfer.ts'
import { type KeysContext, withStore } from './keys.ts'

/** `governor keys export`: the keys with their hashes, as a file of keys, on standard output. */
export async function keysExport(context: KeysContext, tenant: string | null): Promise<number> {
  return withStore(context, async (store) => {
    await exportKeys(commandAdmin(store, context), tenant, context.write)
    return 0
  })
}

const STANDARD_INPUT = '/dev/stdin'

/** `governor keys import`: adds the keys of such a file, `-` for standard input; 1 where some conflict. */
export async function keysImport(context: KeysContext, file: string): Promise<number> {
  let text: string
  try {
    text = read(file === '-' ? STANDARD_INPUT : file)
  } catch (error) {
    const { write, writeError = write } = context
    writeError(`Cannot read ${escapeText(file)}: ${escapeText((error as Error).message)}\n`)
    return 2
  }
  return withStore(context, async (store) => {
    try {
      const { added, same, conflicts } = await importKeys(commandAdmin(store, context), text)
      for (const keyId of conflicts) {
        context.write(`conflict ${keyId}: it is there with another content, which stays\n`)
      }
      const said = `${added} added, ${same} there already, ${conflicts.length} in conflict`
      context.write(`${said}: ${store.place}\n`)
      return conflicts.length === 0 ? 0 : 1
    } catch (error) {
      if (!(error instanceof KeyStoreReadOnlyError)) throw error
      const lines = error.rows.map((row) => `  - ${row}\n`).join('')
      context.write(`${error.message}. Put these lines where it comes from:\n${lines}`)
      return 1
    }
  })
}
