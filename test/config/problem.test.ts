import t from 'tap'

import { excerpt } from '../../src/config/excerpt.ts'
import {
  nearest,
  pathText,
  problemLine,
  renderProblems,
  sortProblems,
  type Problem,
} from '../../src/config/problem.ts'

function problem(overrides: Partial<Problem>): Problem {
  return {
    file: 'governance.yaml',
    line: 3,
    column: 5,
    path: 'limits[0].id',
    message: 'Key "id" is missing',
    severity: 'error',
    ...overrides,
  }
}

t.test('renderProblems() writes a line each and counts them', async (t) => {
  t.equal(
    renderProblems([problem({}), problem({ path: '' })], 'Nothing was started.'),
    'governance.yaml:3:5  limits[0].id  Key "id" is missing\n' +
      'governance.yaml:3:5  Key "id" is missing\n' +
      '2 problems. Nothing was started.\n',
  )
  t.equal(renderProblems([problem({ line: 0, path: '' })]).split('\n')[1], '1 problem.')
  t.equal(renderProblems([]), '')
})

t.test('problemLine() leaves out the place nobody knows and marks a note', async (t) => {
  t.equal(problemLine(problem({ line: 0, path: '' })), 'governance.yaml  Key "id" is missing')
  const note = problemLine(problem({ severity: 'note' }))
  t.equal(note, 'governance.yaml:3:5  limits[0].id  Note: Key "id" is missing')
})

t.test(
  'problemLine() shows a file name as characters, whatever they do to a terminal',
  async (t) => {
    const file = 'a\u001b[2J\n\u202eb.yaml'
    t.equal(
      problemLine(problem({ file, path: '', message: 'Wrong', line: 0 })),
      'a\\u001b[2J\\u000a\\u202eb.yaml  Wrong',
    )
  },
)

t.test('sortProblems() orders by line, then column', async (t) => {
  const places = sortProblems([
    problem({ line: 10, column: 1 }),
    problem({ line: 9, column: 20 }),
    problem({ line: 9, column: 3 }),
  ]).map(({ line, column }) => [line, column])
  t.strictSame(places, [
    [9, 3],
    [9, 20],
    [10, 1],
  ])
})

t.test('pathText() quotes names that are not words', async (t) => {
  t.equal(pathText(['limits', 0, 'for', 'labels', 'a b']), 'limits[0].for.labels["a b"]')
})

for (const [word, want] of [
  ['limts', 'limits'],
  ['pollicies', 'policies'],
  ['Policies', 'policies'],
  ['lsiten', 'listen'],
  ['banana', null],
  ['x'.repeat(5000), null],
] as const) {
  t.test(`nearest() finds ${want} for ${word.slice(0, 20)}`, async (t) => {
    t.equal(nearest(word, ['limits', 'policies', 'listen', 'audit']), want)
  })
}

/** Of a text in which ‸ stands before the place. */
function shown(text: string): string {
  const before = text.slice(0, text.indexOf('‸')).split('\n')
  const column = (before.at(-1) ?? '').length + 1
  return excerpt(text.replace('‸', ''), problem({ line: before.length, column }))
}

t.test('excerpt() shows the line and a caret below the place', async (t) => {
  t.equal(
    shown('policies:\n  - id: a\n    require: |\n      caller.‸rols == []\r\n'),
    '  4 |       caller.rols == []\n    |              ^\n',
  )
  t.equal(shown('tests:\n\t‸- x\n'), '  2 |  - x\n    |  ^\n', 'a tab is one space')
  t.equal(
    shown('sets:\n  a: ["日本😀e\u0301", ‸b]'),
    `  2 |   a: ["日本😀e\u0301", b]\n    | ${' '.repeat(17)}^\n`,
    'below what it is about, however wide letters are',
  )
  const [first = ''] = shown('policies: ["a\u202e\u001b[2J", ‸b]').split('\n')
  t.equal(first, '  1 | policies: ["a\\u202e\ufffd[2J", b]')
})

t.test('excerpt() shows as much of a long line as a terminal has', async (t) => {
  for (const at of [0, 20, 500, 999]) {
    const line = `${'x'.repeat(at)}‸${'y'.repeat(1000 - at)}`
    const [first = '', second = ''] = shown(`policies:\n  a: ${line}\n`).split('\n')
    t.ok(first.length <= 110, `${first.length}`)
    t.equal(first[second.indexOf('^')], 'y', first)
  }
  const halves = shown(`policies:\n  a: ${'😀'.repeat(200)}‸b${'😀'.repeat(200)}\n`)
  t.ok(halves.isWellFormed())
})

t.test('excerpt() shows no line that may hold a secret', async (t) => {
  for (const text of [
    'upstreams:\n  - credential: ‸sk-hunter2\n',
    'policies: []\nupstreams:\n  - ‸credental: sk-hunter2\n',
    'upstreams: [{ ‸credental: sk-hunter2 }]\n',
    '{ policies: [], upstreams: [{ ‸credental: sk-hunter2 }] }\n',
    '"upstreams":\n# policies:\n  - ‸credental: sk-hunter2\n',
    'limit_store: ‸redis://:hunter2@redis\n',
    'auth:\n  ‸x: hunter2\n',
    '‸hunter2\n',
    'policies:\n? ‸hunter2\n',
    '\n‸',
  ]) {
    t.equal(shown(text), '', text)
  }
  t.equal(excerpt('policies: []\n', problem({ line: 0, column: 0 })), '')
  t.equal(excerpt('policies: []\n', problem({ line: 9, column: 1 })), '')
})
