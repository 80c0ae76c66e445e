import { latestCheckpoints } from '../audit/fleet-checkpoints.ts'
import { publishedRoot, publishRoot } from '../audit/fleet-publish.ts'
import { signRoot, takenBack } from '../audit/fleet-root.ts'
import { escapeText } from '../audit/format.ts'
import { postgresMessage } from '../audit/postgres.ts'
import type { PublishTarget } from '../audit/publish.ts'
import { Signer } from '../audit/signing-key.ts'
import { wallMs } from '../clock.ts'
import { NO_DATABASE } from './audit-postgres.ts'
import { entriesOf } from './counted.ts'

/** What `governor audit publish` was asked for. */
export interface PublishOptions {
  /** Null where the configuration names no database. */
  readonly url: string | null
  readonly place: PublishTarget
  /** A secret key `<base>.key`, with its list `<base>.keys.json`; both are made when missing. */
  readonly keyFile: string
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

const SHOWN_MAX = 100
const KEY_SUFFIX = '.key'

/**
 * Publishes a root over the last checkpoints of all writers in PostgreSQL, unless it would take back what
 * the root published before it covers. Exit code 0 published · 1 a writer is gone, shorter or another, and
 * the former root stays · 2 nothing to publish, or a place, the key or the database cannot be used.
 */
export async function auditPublish(options: PublishOptions): Promise<number> {
  const { url, place, keyFile, write, writeError = write } = options
  if (url === null) {
    writeError(NO_DATABASE)
    return 2
  }
  if (place.file === null && place.url === null) {
    writeError(
      'There is no place to publish to: set audit.root, or give --file <file> or --put <url>\n',
    )
    return 2
  }
  if (!keyFile.endsWith(KEY_SUFFIX)) {
    writeError(
      `The key has to be a file named <name>${KEY_SUFFIX}, with <name>.keys.json beside it\n`,
    )
    return 2
  }
  try {
    return await publish({ ...options, url })
  } catch (error) {
    writeError(`Nothing was published: ${escapeText(postgresMessage(error))}\n`)
    return 2
  }
}

async function publish({
  url,
  place,
  keyFile,
  write,
  writeError = write,
}: PublishOptions & { readonly url: string }): Promise<number> {
  const former = await publishedRoot(place)
  const { checkpoints, strange } = await latestCheckpoints(url)
  const problems = [
    ...(former === null ? [] : takenBack(former, checkpoints)),
    ...strange.map((origin) => `${origin}: its last checkpoint is not one of it`),
  ]
  if (problems.length > 0) {
    for (const each of problems.slice(0, SHOWN_MAX)) write(`problem  ${escapeText(each)}\n`)
    write(
      `Nothing was published: ${problems.length} writers do not continue what was published. Run ` +
        'governor audit verify --url --root; when it is so on purpose, move the former root away\n',
    )
    return 1
  }
  if (checkpoints.size === 0) {
    writeError('Nothing was published: no checkpoint is in PostgreSQL yet\n')
    return 2
  }
  const signer = Signer.open(keyFile.slice(0, -KEY_SUFFIX.length), wallMs())
  await publishRoot(place, signRoot(checkpoints.values(), signer))
  const entries = [...checkpoints.values()].reduce((sum, { size }) => sum + size, 0)
  const places = [place.file, place.url].filter((each) => each !== null).join(' and ')
  write(`Published a root over ${entriesOf(entries, checkpoints.size)} to ${escapeText(places)}.\n`)
  return 0
}
