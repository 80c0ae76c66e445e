import { hash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { REGISTRY } from '../../../src/policy/detect/registry.ts'
import { findIn, setOf } from './find.ts'

/** Text nobody wrote for this: the JavaScript, Markdown and JSON of packages. */
const BYTES = 20_000_000
const FILE_BYTES_MAX = 1_000_000
const ROOT = new URL('../../../node_modules', import.meta.url).pathname

/** Paths in an order that has nothing to do with their names, the same every time. */
function sample(): readonly string[] {
  return pathsIn(ROOT)
    .filter((path) => /\.(?:[cm]?js|md|json)$/.test(path))
    .map((path) => ({ path, key: hash('sha1', path.slice(ROOT.length)) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ path }) => path)
}

/** Files, without following links. */
function pathsIn(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return pathsIn(path)
    return entry.isFile() ? [path] : []
  })
}

/**
 * Packages are full of addresses of authors, examples of IP addresses, bitcoin addresses and fixtures
 * with passwords: found, and rightly so. These tell, by other means than the detectors, what is none.
 */
const WRONG: Readonly<Record<string, (value: string, before: string) => boolean>> = {
  email: (value) =>
    !/^[^\s@]+@[^\s@]+\.[a-z]{2,}$/i.test(value) || /\.(?:js|png|ts|json)$/.test(value),
  phone: (_, before) => !/tel|phone|call/i.test(before),
  // `@example 10.1.2.80` is one, `package@1.2.3.4` is none.
  ip_address: (value, before) =>
    /version|\bv$|@(?!example )|§|\/\/ $/i.test(before) || value.length < 3,
  // What the word before calls so, it is.
  us_ssn: (_, before) => !/ssn/i.test(before),
  // An identifier has a word in it.
  high_entropy: (value) =>
    /[a-z]{6}/.test(value.replace(/[A-Z]/g, ' ')) &&
    /[aeiou][^aeiou][aeiou][^aeiou]/.test(value) &&
    /[A-Z]?[a-z]{5,}[A-Z_/-][a-z]{4,}/.test(value),
  // Not in quotes and not in a URL: an expression.
  password: (value, before) => !/["'`@:/\\]\s*$/.test(before) && !/\d/.test(value),
}

void t.test('detectors find next to nothing wrong in 20 MB of packages', async (t) => {
  const set = setOf()
  const counts = new Map<string, number>()
  const wrong = new Map<string, string[]>()
  let bytes = 0
  for (const path of sample()) {
    if (bytes >= BYTES) break
    const { size } = statSync(path)
    if (size > FILE_BYTES_MAX) continue
    bytes += size
    const text = readFileSync(path, 'utf8')
    for (const { id, start, end } of findIn(set, text)) {
      const value = text.slice(start, end)
      const before = text.slice(Math.max(0, start - 20), start)
      counts.set(id, (counts.get(id) ?? 0) + 1)
      if (WRONG[id]?.(value, before) === false) continue
      wrong.set(id, [
        ...(wrong.get(id) ?? []),
        `${JSON.stringify(before + value).slice(0, 100)} ${path}`,
      ])
    }
  }
  t.comment(`${bytes} bytes`)
  for (const id of REGISTRY.keys()) {
    const found = wrong.get(id) ?? []
    t.comment(
      `${id}: ${counts.get(id) ?? 0} found, ${found.length} wrong ${found.slice(0, 3).join(' | ')}`,
    )
    t.ok(found.length <= 1, `${id} ${found.length}`)
  }
})
