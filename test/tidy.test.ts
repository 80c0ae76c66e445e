import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

/** What every area may use: the nouns, the error table, the clock, the log, the metrics, how others are asked. */
const COMMON = [
  'exchange',
  'nouns',
  'errors',
  'clock',
  'turns',
  'patience',
  'log',
  'metrics',
  'directories',
  'lean-http',
]
const AREAS = ['audit', 'auth', 'config', 'dialect', 'http', 'limit', 'owner', 'policy', 'upstream']
/** Folders that put areas together, as the files at the top of src/ do. */
const TOGETHER = ['admin', 'answers', 'session', 'stages']

/** Which files and folders outside of it each of these may import. Anything not listed here fails. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  errors: [],
  clock: [],
  turns: ['clock'],
  patience: ['clock'],
  directories: [],
  'lean-http': [],
  log: [],
  series: [],
  metrics: ['series'],
  nouns: ['exchange', 'errors'],
  exchange: ['nouns', 'errors', 'clock'],
  pipeline: ['errors', 'exchange'],
  ...Object.fromEntries(AREAS.map((area) => [area, COMMON])),
  main: ['cli', 'clock'],
}

/** Types that may cross: the shape of the configuration, and the permit that forward demands. */
const TYPES: Record<string, readonly string[]> = {
  'config/snapshot.ts': AREAS,
  'pipeline.ts': ['upstream'],
}

const root = join(import.meta.dirname, '..', 'src')
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
)
const areaOf = (file: string): string => file.split('/')[0]!.replace(/\.ts$/, '')

/**
 * All others put areas together: they may import any area and each other, but not the command line, and
 * only the command line starts a governor.
 */
function mayImport(area: string, target: string): boolean {
  const listed = MAY_IMPORT[area]
  if (listed !== undefined) return listed.includes(target)
  if (area === 'cli') return target !== 'main'
  return !['cli', 'main', 'governor'].includes(target)
}

for (const file of files) {
  t.test(`tidy: src/${file}`, async (t) => {
    const text = readFileSync(join(root, file), 'utf8')
    const area = areaOf(file)
    for (const [, kind, specifier] of text.matchAll(
      /import (type )?[^']*?from '(\.{1,2}\/[^']+)'/g,
    )) {
      const target = join(file, '..', specifier!)
      if (areaOf(target) === area) continue
      const isType = kind !== undefined && TYPES[target]?.includes(area) === true
      t.ok(isType || mayImport(area, areaOf(target)), `${area} -> ${target}`)
    }
    t.notMatch(text, /\b(TODO|FIXME|XXX)\b(?!\(#\d+\))/, 'every TODO names an issue')
    if (file !== 'lean-http.ts') {
      const heavy = /^import (?!type).*from '(node:http|undici)'/m
      t.notMatch(text, heavy, 'HTTP is in lean-http.ts: by itself it takes 13 MB more')
    }
    if (file !== 'clock.ts') {
      t.notMatch(text, /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(/, 'time is in clock.ts')
      t.notMatch(text, /\bsetInterval\(/, 'repeating timers come from clock.ts')
    }
    t.ok(text.split('\n').length <= 401, 'at most 400 lines')
  })
}

t.test('tidy: what puts areas together is loaded in one order, without a circle', async (t) => {
  const imports = new Map<string, string[]>()
  for (const file of files) {
    if (file.includes('/') && !TOGETHER.includes(areaOf(file))) continue
    const text = readFileSync(join(root, file), 'utf8')
    const found = [...text.matchAll(/^import (?!type)[^']*?from '(\.{1,2}\/[^']+\.ts)'/gm)]
    imports.set(
      file,
      found.map(([, target]) => join(file, '..', target!)),
    )
  }
  const done = new Set<string>()
  const visit = (file: string, above: readonly string[]): void => {
    if (above.includes(file)) t.fail([...above, file].join(' -> '))
    else if (!done.has(file)) {
      for (const target of imports.get(file) ?? []) visit(target, [...above, file])
      done.add(file)
    }
  }
  for (const file of imports.keys()) visit(file, [])
  t.ok(imports.get('governor.ts')!.length > 5, 'imports are seen')
  for (const folder of TOGETHER) t.ok([...imports.keys()].some((file) => areaOf(file) === folder))
})

t.test('tidy: pipeline.ts fits a screen', async (t) => {
  const lines = readFileSync(join(root, 'pipeline.ts'), 'utf8').trimEnd().split('\n').length
  t.ok(lines <= 100, `${lines} lines`)
})

const lock = readFileSync(join(root, '..', 'package-lock.json'), 'utf8')

t.test('tidy: the lock file names no registry', async (t) => {
  t.notMatch(lock, /"resolved": "http/)
})

// A registry mirror that lacks a platform's package makes `npm install` leave it out of the lock
// file, and `npm ci` then refuses the whole file.
t.test('tidy: the lock file names every optional package, also for other platforms', async (t) => {
  const { packages } = JSON.parse(lock) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>
  }
  for (const { optionalDependencies = {} } of Object.values(packages)) {
    for (const name of Object.keys(optionalDependencies))
      t.ok(packages[`node_modules/${name}`], name)
  }
})
