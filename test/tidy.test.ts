import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

/** What every area may use: the nouns, the error table, the clock, the log, the metrics. */
const COMMON = [
  'exchange',
  'answer',
  'attempt',
  'lease',
  'texts',
  'socket-events',
  'errors',
  'clock',
  'turns',
  'log',
  'metrics',
  'directories',
]
const AREAS = ['audit', 'auth', 'config', 'dialect', 'http', 'limit', 'policy', 'upstream']
/** Files that put areas together. */
const COMPOSITION = [
  'load-config',
  'governor',
  'candidate',
  'decide',
  'list-models',
  'stages',
  'check-stages',
  'answer-channel',
  'answer-guard',
  'answer-policies',
  'external-detectors',
  'fall-back',
  'forwarding',
  'world',
  'pipeline',
  'session',
  'session-guard',
  'session-inbox',
  'session-responses',
  'session-socket',
  'session-stages',
  'session-turn',
  'socket-stages',
]

/** Which src/ areas each area may import. Anything not listed here fails. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  errors: [],
  clock: [],
  turns: ['clock'],
  directories: [],
  log: [],
  series: [],
  metrics: ['series'],
  operations: [],
  parameters: [],
  lease: [],
  texts: [],
  answer: ['exchange'],
  'socket-events': ['exchange', 'errors'],
  attempt: ['errors', 'texts'],
  exchange: [
    'answer',
    'attempt',
    'errors',
    'clock',
    'operations',
    'parameters',
    'lease',
    'texts',
    'socket-events',
  ],
  pipeline: ['errors', 'exchange'],
  ...Object.fromEntries(AREAS.map((area) => [area, COMMON])),
  'load-config': ['config', 'policy'],
  'external-detectors': [...COMMON, ...AREAS],
  world: [...COMMON, ...AREAS, 'external-detectors'],
  decide: [...COMMON, ...AREAS, 'external-detectors', 'world'],
  'list-models': [...COMMON, ...AREAS, 'world'],
  candidate: [...COMMON, ...AREAS, 'external-detectors', 'world'],
  'answer-channel': [...COMMON, 'policy'],
  'answer-guard': [...COMMON, 'answer-channel', 'dialect', 'policy', 'upstream'],
  'answer-policies': [...COMMON, ...AREAS, 'answer-guard', 'world'],
  'fall-back': [...COMMON, ...AREAS, 'world'],
  forwarding: [...COMMON, ...AREAS, 'fall-back', 'pipeline', 'world'],
  stages: [
    ...COMMON,
    ...AREAS,
    'answer-policies',
    'candidate',
    'decide',
    'fall-back',
    'forwarding',
    'list-models',
    'world',
    'pipeline',
  ],
  'check-stages': [...COMMON, ...AREAS, 'world', 'stages'],
  'session-turn': [...COMMON],
  'session-guard': [...COMMON, ...AREAS, 'answer-policies', 'session-turn', 'world'],
  'session-inbox': [],
  'session-socket': [],
  'session-responses': ['session-turn'],
  session: [
    ...COMMON,
    ...AREAS,
    'pipeline',
    'session-guard',
    'session-inbox',
    'session-responses',
    'session-socket',
    'session-turn',
  ],
  'session-stages': [
    ...COMMON,
    ...AREAS,
    'candidate',
    'decide',
    'pipeline',
    'session',
    'session-guard',
    'session-turn',
    'stages',
    'world',
  ],
  'socket-stages': [
    ...COMMON,
    ...AREAS,
    'pipeline',
    'session',
    'session-guard',
    'session-stages',
    'stages',
    'world',
  ],
  governor: [...COMMON, ...AREAS, ...COMPOSITION],
  cli: [...COMMON, ...AREAS, ...COMPOSITION],
  main: ['cli', 'config', 'load-config', 'clock'],
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
      t.ok(isType || MAY_IMPORT[area]?.includes(areaOf(target)), `${area} -> ${target}`)
    }
    t.notMatch(text, /\b(TODO|FIXME|XXX)\b(?!\(#\d+\))/, 'every TODO names an issue')
    if (file !== 'clock.ts') {
      t.notMatch(text, /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(/, 'time is in clock.ts')
      t.notMatch(text, /\bsetInterval\(/, 'repeating timers come from clock.ts')
    }
    t.ok(text.split('\n').length <= 401, 'at most 400 lines')
  })
}

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
