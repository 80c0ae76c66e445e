import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { printConfig } from '../../src/config/print.ts'
import { loadConfig } from '../../src/load-config.ts'

const HEAD = 'version: 1\nupstreams: [{ name: echo, dialect: openai, url: "echo:" }]\n'
const LIVE = `${HEAD}policies: [{ id: open, allow: {} }]\ncandidate: next.yaml\n`
const NEXT = `${HEAD}policies: [{ id: narrow, allow: { models: ["gpt-4o*"] } }]\n`

function load(directory: string, candidate?: 'ignore') {
  const file = join(directory, 'governance.yaml')
  const loaded = loadConfig(file, { env: {}, forRun: true, ...(candidate && { candidate }) })
  if (loaded.ok) return { snapshot: loaded.snapshot, problems: [], follow: [] }
  const short = (path: string) => path.replaceAll(`${directory}/`, '')
  const problems = loaded.problems.map(({ file: path, line, column, message }) =>
    short(`${path}:${line}:${column} ${message}`),
  )
  return { snapshot: null, problems, follow: loaded.follow.map(short) }
}

t.test('a candidate is loaded whole, beside the file that names it', async (t) => {
  const directory = t.testdir({ 'governance.yaml': LIVE, 'next.yaml': NEXT })
  const { snapshot } = load(directory)
  t.equal(snapshot?.candidate?.policies[0]?.id, 'narrow')
  t.equal(snapshot?.candidate?.file, join(directory, 'next.yaml'))
  t.not(snapshot?.candidate?.digest, snapshot?.digest)
  t.ok(Object.isFrozen(snapshot?.candidate?.policies))
  t.match(printConfig(snapshot!), `candidate: ${join(directory, 'next.yaml')}`)
  t.equal(load(directory, 'ignore').snapshot?.candidate, null)
})

t.test('check says that nobody asks what a candidate would make of answers', async (t) => {
  const output =
    '{ id: out, deny: { output: { words: [x] } } }, { id: pii, redact: { output: { detect: [email] } } }'
  const directory = t.testdir({
    'governance.yaml': LIVE,
    'next.yaml': NEXT.replace('policies: [{', `policies: [${output}, {`),
  })
  const notes = () => {
    const file = join(directory, 'governance.yaml')
    const loaded = loadConfig(file, { env: {}, forRun: false })
    if (!loaded.ok) throw new Error('it does not load')
    return loaded.notes.filter(({ rule }) => rule === 'candidate-answers')
  }
  t.match(notes(), [
    {
      line: 4,
      column: 12,
      message: /^Decides calls, not answers: "out" and 1 more of its policies/,
    },
  ])
  writeFileSync(join(directory, 'next.yaml'), NEXT)
  t.strictSame(notes(), [])
})

t.test('what is wrong with a candidate is said with its own name, line and column', async (t) => {
  const directory = t.testdir({
    'governance.yaml': LIVE.replace('policies', 'polices'),
    'next.yaml': `${NEXT}limits: [{ id: a, per: keys, concurrent: 1 }]\n`,
  })
  t.strictSame(load(directory), {
    snapshot: null,
    problems: [
      'governance.yaml:3:1 Unknown key: did you mean "policies"?',
      'next.yaml:4:24 Unknown value "keys": did you mean "key"?',
    ],
    follow: ['next.yaml'],
  })
})

t.test('a candidate that is not there is a problem of the file that names it', async (t) => {
  const directory = t.testdir({ 'governance.yaml': LIVE, 'a.yaml': '' })
  const wanted = { snapshot: null, follow: ['next.yaml'] }
  t.strictSame(load(directory), {
    ...wanted,
    problems: ['governance.yaml:4:12 Cannot read the file: there is none'],
  })
  t.equal(load(directory, 'ignore').snapshot?.policies.length, 1, 'keys revoke still works')
})

t.test('a candidate has none of its own, and is not the file that names it', async (t) => {
  const directory = t.testdir({
    'governance.yaml': LIVE,
    'next.yaml': `${NEXT}candidate: governance.yaml\n`,
  })
  t.strictSame(load(directory).problems, [
    'next.yaml:4:12 A candidate has none of its own: remove the key',
  ])
  const itself = t.testdir({ 'governance.yaml': LIVE.replace('next', './governance') })
  t.strictSame(load(itself).problems, [
    'governance.yaml:4:12 It is this file itself: name another one',
  ])
})

t.test('what is no configuration at all is said of the candidate, too', async (t) => {
  for (const [text, message] of [
    ['', 'next.yaml:1:1 The file is empty: `governor init` writes one to start from'],
    ['a: [', 'next.yaml:1:5 A bracket above is not closed: expected ]'],
    [
      '\0',
      'next.yaml:1:1 The file holds a NUL byte: it is not text, or not UTF-8, save it as UTF-8',
    ],
  ] as const) {
    const directory = t.testdir({ 'governance.yaml': LIVE, 'next.yaml': text })
    t.strictSame(load(directory).problems, [message])
  }
})
