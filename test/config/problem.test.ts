import t from 'tap'

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
