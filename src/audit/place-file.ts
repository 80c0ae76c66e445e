import { randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** What is put at a path, and how. */
export interface Placed {
  readonly text: string
  readonly mode: number
  /** Moves the finished file to its name; a rename, which replaces what is there, when absent. */
  readonly place?: (from: string, to: string) => void
}

/**
 * Writes a file whole or not at all, also when the power fails: a half-written one would lose the old one
 * too. Throws an Error that names it.
 */
export function placeFile(file: string, { text, mode, place = renameSync }: Placed): void {
  const temporary = `${file}.${randomUUID()}.new`
  try {
    const descriptor = openSync(temporary, 'wx', mode)
    try {
      const bytes = Buffer.from(text)
      for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    place(temporary, file)
    const directory = openSync(dirname(file), 'r')
    fsyncSync(directory)
    closeSync(directory)
  } catch (error) {
    rmSync(temporary, { force: true })
    const why = (error as Error).message
    throw new Error(`Cannot write ${file}: ${why}`, { cause: error })
  }
}
