import { randomUUID } from 'node:crypto'
import {
  closeSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'

const STARTER = new URL('../../config/starter.yaml', import.meta.url)

/** What every command reads that is given no `--config`. */
const DEFAULT = 'governance.yaml'

/** What the system says, in words; errno(3). */
const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'it exists already; --force replaces it',
  ENOENT: 'there is no such directory',
  ENOTDIR: 'there is no such directory',
  EISDIR: 'it is a directory',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'the disk is read-only',
  ENOSPC: 'the disk is full',
}

/** The arguments of `governor init`, and where its output goes. */
export interface InitOptions {
  /** Where to write; must not exist unless `force`. */
  readonly file: string
  readonly force: boolean
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/** `governor init`: writes config/starter.yaml to `file`. Exit code 0, or 2 when it cannot. */
export function init({ file, force, write, writeError = write }: InitOptions): number {
  try {
    put(file, readFileSync(STARTER), force)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
    writeError(`Cannot write ${file}: ${REASONS[code] ?? `the system says ${code}`}\n`)
    return 2
  }
  const config = file === DEFAULT ? '' : ` --config ${file}`
  write(`Wrote ${file}. Next: governor check${config}, then governor run --dev${config}\n`)
  return 0
}

/** A file is there whole or not at all, and one that is replaced stays until the other is whole. */
function put(file: string, bytes: Buffer, force: boolean): void {
  const former = force ? lstatSync(file, { throwIfNoEntry: false }) : undefined
  if (former === undefined) return putNew(file, bytes, 0o666)
  // What a link leads to, or a device takes, is written where it is.
  if (!former.isFile()) return writeFileSync(file, bytes)
  const next = `${file}.${randomUUID()}.new`
  putNew(next, bytes, former.mode & 0o777)
  renameSync(next, file)
}

function putNew(file: string, bytes: Buffer, mode: number): void {
  const descriptor = openSync(file, 'wx', mode)
  try {
    writeFileSync(descriptor, bytes)
  } catch (error) {
    rmSync(file, { force: true })
    throw error
  } finally {
    closeSync(descriptor)
  }
}
