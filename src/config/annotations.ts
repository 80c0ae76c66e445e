import { pathToFileURL } from 'node:url'

import { LINT_RULES } from './lint.ts'
import type { Problem } from './problem.ts'

/** Problems and notes in the languages of code hosts, so that they show beside the line they are about. */

/**
 * GitHub workflow commands, a line each: `::error file=…,line=…,col=…,title=…::message`. Escaped by the
 * rules of @actions/core: `%`, CR and LF everywhere, `:` and `,` in properties too.
 */
export function githubCommands(problems: readonly Problem[]): string {
  return problems.map((problem) => `${githubCommand(problem)}\n`).join('')
}

const COMMANDS = { error: 'error', warning: 'warning', note: 'notice' } as const

function githubCommand(problem: Problem): string {
  const { file, line, column, path, message } = problem
  const place = line === 0 ? [] : [`line=${line}`, `col=${column}`]
  const title = path === '' ? [] : [`title=${escapeProperty(path)}`]
  const properties = [`file=${escapeProperty(file)}`, ...place, ...title].join(',')
  return `::${COMMANDS[levelOf(problem)]} ${properties}::${escapeData(message)}`
}

function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}

/** What stops a start, what lint suspects, and what is only said. */
function levelOf({ severity, rule }: Problem): 'error' | 'warning' | 'note' {
  if (severity === 'error') return 'error'
  return rule === undefined ? 'note' : 'warning'
}

const RULES: Readonly<Record<string, string>> = {
  invalid: 'What a configuration cannot say',
  advice: 'What a careful reader would ask',
  ...LINT_RULES,
}

/** A SARIF 2.1.0 log (OASIS) of one run, as code scanning takes it. `version` is Governor's. */
export function sarifLog(problems: readonly Problem[], version: string): string {
  const ids = Object.keys(RULES)
  const rules = ids.map((id) => ({ id, shortDescription: { text: RULES[id] } }))
  const log = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'Governor', version, rules } },
        columnKind: 'utf16CodeUnits',
        results: problems.map((problem) => sarifResult(problem, ids)),
      },
    ],
  }
  return `${JSON.stringify(log, null, 2)}\n`
}

function sarifResult(problem: Problem, ids: readonly string[]) {
  const { file, line, column, path, severity, message } = problem
  const ruleId = problem.rule ?? (severity === 'error' ? 'invalid' : 'advice')
  const region = line === 0 ? {} : { region: { startLine: line, startColumn: column } }
  return {
    ruleId,
    ruleIndex: ids.indexOf(ruleId),
    level: levelOf(problem),
    message: { text: path === '' ? message : `${path}: ${message}` },
    locations: [{ physicalLocation: { artifactLocation: { uri: uriOf(file) }, ...region } }],
  }
}

/** Relative to where the command ran, as the file was named; RFC 3986. */
function uriOf(file: string): string {
  if (file.startsWith('/')) return pathToFileURL(file).href
  return file.split('/').map(encodeURIComponent).join('/')
}
