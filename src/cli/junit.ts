import type { TestReport, TestResult } from '../policy/test-runner.ts'

/** The tests of one file, as `governor test` ran them. */
export interface TestedFile {
  readonly file: string
  /** null when the file does not load. */
  readonly report: TestReport | null
  /** What is wrong with the file, a line each. */
  readonly problems: readonly string[]
  /** Says that too little is covered; null when enough is. */
  readonly coverageProblem: string | null
}

/**
 * JUnit XML as GitLab, Jenkins and GitHub actions read it: a suite for each file, a case for each
 * test. A file that does not load and a coverage below the minimum are cases that fail.
 */
export function junitXml(files: readonly TestedFile[]): string {
  const suites = files.map((file) => suite(file))
  const total = (name: 'tests' | 'failures') => suites.reduce((sum, each) => sum + each[name], 0)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="governor test" tests="${total('tests')}" failures="${total('failures')}">`,
    ...suites.map(({ xml }) => xml),
    '</testsuites>',
    '',
  ].join('\n')
}

function suite({ file, report, problems, coverageProblem }: TestedFile) {
  const cases = (report?.results ?? []).map((result) => ({
    name: result.name,
    failure: result.differences.length === 0 ? null : failureText(result),
  }))
  if (problems.length > 0) cases.push({ name: 'the file loads', failure: problems.join('\n') })
  if (coverageProblem !== null) cases.push({ name: 'coverage', failure: coverageProblem })
  const failures = cases.filter(({ failure }) => failure !== null).length
  const xml = [
    `  <testsuite name="${escapeXml(file)}" tests="${cases.length}" failures="${failures}">`,
    ...cases.map(({ name, failure }) => caseXml(file, name, failure)),
    '  </testsuite>',
  ].join('\n')
  return { tests: cases.length, failures, xml }
}

function failureText({ differences, policies }: TestResult): string {
  const matched = policies.map(({ id, mode, result, why }) => `${id} ${mode} ${result}: ${why}`)
  return [...differences, ...matched].join('\n')
}

function caseXml(file: string, name: string, failure: string | null): string {
  const head = `    <testcase classname="${escapeXml(file)}" name="${escapeXml(name)}"`
  if (failure === null) return `${head}/>`
  const [first = ''] = failure.split('\n')
  return [
    `${head}>`,
    `      <failure message="${escapeXml(first)}">${escapeXml(failure)}</failure>`,
    '    </testcase>',
  ].join('\n')
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}

/** XML 1.0 §2.2 has no way to write most control characters, so they become U+FFFD. */
function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}
