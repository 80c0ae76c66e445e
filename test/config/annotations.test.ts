import t from 'tap'

import { githubCommands, sarifLog } from '../../src/config/annotations.ts'
import type { Problem } from '../../src/config/problem.ts'

const PROBLEM: Problem = {
  file: 'a.yaml',
  line: 3,
  column: 7,
  path: 'listen.proxy',
  message: 'Cannot parse address',
  severity: 'error',
}

/** Where a SARIF result points. */
function place(uri: string, region = true) {
  return [
    {
      physicalLocation: {
        artifactLocation: { uri },
        ...(region && { region: { startLine: 3, startColumn: 7 } }),
      },
    },
  ]
}

t.test('githubCommands() writes a command a line, by severity', async (t) => {
  const problems: Problem[] = [
    PROBLEM,
    { ...PROBLEM, severity: 'note', rule: 'shadow' },
    { ...PROBLEM, severity: 'note', path: '' },
    { ...PROBLEM, line: 0, column: 0, path: '' },
  ]
  t.strictSame(githubCommands(problems).split('\n'), [
    '::error file=a.yaml,line=3,col=7,title=listen.proxy::Cannot parse address',
    '::warning file=a.yaml,line=3,col=7,title=listen.proxy::Cannot parse address',
    '::notice file=a.yaml,line=3,col=7::Cannot parse address',
    '::error file=a.yaml::Cannot parse address',
    '',
  ])
})

t.test('githubCommands() escapes what would end a property, a message or a line', async (t) => {
  const problem = {
    ...PROBLEM,
    file: 'a:b,c%.yaml',
    path: 'x["a,b:c"]',
    message: '100 %: a,b\r\n::error',
  }
  t.equal(
    githubCommands([problem]),
    '::error file=a%3Ab%2Cc%25.yaml,line=3,col=7,title=x["a%2Cb%3Ac"]::100 %25: a,b%0D%0A::error\n',
  )
})

t.test('sarifLog() has what SARIF 2.1.0 demands, and nothing twice', async (t) => {
  const problems: Problem[] = [
    PROBLEM,
    { ...PROBLEM, file: '/tmp/a b.yaml', severity: 'note', rule: 'shadow' },
    { ...PROBLEM, file: 'x/a b.yaml', line: 0, column: 0, path: '', severity: 'note' },
  ]
  const log = JSON.parse(sarifLog(problems, '1.2.3'))
  t.equal(log.version, '2.1.0')
  t.equal(log.runs.length, 1)
  const [{ tool, results }] = log.runs
  t.match(tool.driver, { name: 'Governor', version: '1.2.3' })
  const ids = tool.driver.rules.map(({ id }: { id: string }) => id)
  t.equal(new Set(ids).size, ids.length)
  for (const { ruleId, ruleIndex } of results) t.equal(ids[ruleIndex], ruleId)
  t.match(results, [
    {
      ruleId: 'invalid',
      level: 'error',
      message: { text: 'listen.proxy: Cannot parse address' },
      locations: place('a.yaml'),
    },
    { ruleId: 'shadow', level: 'warning', locations: place('file:///tmp/a%20b.yaml') },
    { ruleId: 'advice', level: 'note', message: { text: 'Cannot parse address' } },
  ])
  t.strictSame(results[2].locations, place('x/a%20b.yaml', false))
})

t.test('sarifLog() without problems is a log without results', async (t) => {
  t.strictSame(JSON.parse(sarifLog([], '1.2.3')).runs[0].results, [])
})
