import { readFileSync, writeFileSync } from 'node:fs'

const STARTER = new URL('../../config/starter.yaml', import.meta.url)

/** The arguments of `governor init`, and where its output goes. */
export interface InitOptions {
  /** Where to write; must not exist unless `force`. */
  readonly file: string
  readonly force: boolean
  readonly write: (text: string) => void
}

/** `governor init`: writes config/starter.yaml to `file`. Exit code 0, or 2 when it cannot. */
export function init({ file, force, write }: InitOptions): number {
  try {
    writeFileSync(file, readFileSync(STARTER), { flag: force ? 'w' : 'wx' })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
    const why =
      code === 'EEXIST' ? 'it exists already; --force replaces it' : `the system says ${code}`
    write(`Cannot write ${file}: ${why}\n`)
    return 2
  }
  write(`Wrote ${file}. Next: governor check, then governor run --dev\n`)
  return 0
}
