import { writeFileSync } from 'node:fs'

import { escapeText } from '../audit/format.ts'
import { wallMs } from '../clock.ts'
import { problemLine } from '../config/problem.ts'
import { loadConfig, renderProblems } from '../load-config.ts'
import { compilePolicies } from '../policy/compile.ts'
import { describedRouter } from '../policy/described-call.ts'
import { type Coverage, runTests, type TestReport, type TestResult } from '../policy/test-runner.ts'
import { junitXml, type TestedFile } from './junit.ts'

/** The arguments of `governor test`, and where its output goes. */
export interface TestOptions {
  /** governance.yaml when there are none. */
  readonly files: readonly string[]
  /** Percent of the policies of each file that must be covered; null demands nothing. */
  readonly coverageMin: number | null
  /** Where to write JUnit XML; null writes none. */
  readonly junit: string | null
  readonly env: Readonly<Record<string, string | undefined>>
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/**
 * `governor test`: runs the `tests:` of each file. Exit code 0 when all pass and enough is covered, 1
 * when one fails, a file has problems or too little is covered, 2 when a file cannot be read or written.
 */
export async function test(options: TestOptions): Promise<number> {
  const { files, write, writeError = write, junit } = options
  const tested: TestedFile[] = []
  let code = 0
  for (const file of files.length === 0 ? ['governance.yaml'] : files) {
    const result = await testFile(file, options)
    tested.push(result.tested)
    write(escapeLines(result.text))
    code = Math.max(code, result.code)
  }
  if (junit === null) return code
  try {
    writeFileSync(junit, junitXml(tested))
  } catch (error) {
    writeError(`Cannot write ${junit}: ${(error as Error).message}\n`)
    return 2
  }
  return code
}

/** Texts of a test are its writer's, who may not be its reader. */
function escapeLines(text: string): string {
  return text.split('\n').map(escapeText).join('\n')
}

async function testFile(file: string, { env, coverageMin }: TestOptions) {
  const loaded = loadConfig(file, { env, forRun: false, candidate: 'ignore' })
  if (!loaded.ok) {
    const problems = loaded.problems.map(problemLine)
    const tested = { file, report: null, problems, coverageProblem: null }
    return {
      tested,
      text: renderProblems(loaded.problems, '', loaded.excerptOf),
      code: loaded.missing ? 2 : 1,
    }
  }
  const { snapshot } = loaded
  const compiled = compilePolicies(snapshot)
  const report = await runTests(compiled, snapshot.tests, {
    route: describedRouter(snapshot),
    nowMs: wallMs(),
  })
  const tooLittle = coverageMin !== null && report.coveredPercent < coverageMin
  const coverageProblem = tooLittle
    ? `${report.coveredPercent} % of the policies are covered, and ${coverageMin} % are asked for`
    : null
  const failed = report.results.some(({ differences }) => differences.length > 0)
  return {
    tested: { file, report, problems: [], coverageProblem },
    text: reportText(file, report, coverageProblem),
    code: failed || tooLittle ? 1 : 0,
  }
}

function reportText(file: string, report: TestReport, coverageProblem: string | null): string {
  const { results, coverage } = report
  const failed = results.filter(({ differences }) => differences.length > 0).length
  const count = `${results.length} ${results.length === 1 ? 'test' : 'tests'}`
  const verdict = failed === 0 ? count : `${failed} of ${count} failed`
  const lines = [file, ...results.flatMap(resultLines)]
  lines.push(`${file}: ${verdict}, ${coverageText(report)}`)
  const uncovered = coverage.filter(({ matched, unmatched }) => !matched || !unmatched)
  lines.push(...uncovered.map(uncoveredLine))
  if (coverageProblem !== null) lines.push(coverageProblem)
  return `${lines.join('\n')}\n`
}

function resultLines({ name, differences, got, policies }: TestResult): string[] {
  if (differences.length === 0) return [`  ✓ ${name}`]
  const by = got.policy === null ? '' : ` by ${got.policy}`
  const reason = got.reason === '' ? '' : `: ${got.reason}`
  return [
    `  ✗ ${name}`,
    ...differences.map((difference) => `      ${difference}`),
    `      decided: ${got.decision}${by}${reason}`,
    ...policies.map(({ id, mode, result, why }) => `      ${id}  ${mode}  ${result}  ${why}`),
    ...(policies.length === 0 ? ['      no policy matched'] : []),
  ]
}

function coverageText({ coverage, coveredPercent }: TestReport): string {
  const covered = coverage.filter(({ matched, unmatched }) => matched && unmatched).length
  return `coverage ${coveredPercent} % (${covered} of ${coverage.length} policies)`
}

function uncoveredLine({ id, matched }: Coverage): string {
  return `  not covered  ${id}: ${matched ? 'it matches in every test' : 'no test in which it matches'}`
}
