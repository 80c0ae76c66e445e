import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

interface Test {
  testdir(): string
}

const taken = new WeakMap<Test, { readonly base: string; count: number }>()

/**
 * A directory that nothing else of the test uses. `testdir()` empties its one directory each time
 * it is asked, also while something still writes there; so only the first who asks gets that one,
 * and the others a directory inside it.
 */
export function ownDirectory(t: Test): string {
  const known = taken.get(t)
  if (known === undefined) {
    const base = t.testdir()
    taken.set(t, { base, count: 1 })
    return base
  }
  known.count += 1
  const directory = join(known.base, `site-${known.count}`)
  mkdirSync(directory)
  return directory
}
