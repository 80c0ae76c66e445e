import type { EvaluationError, ParseError, TypeCheckResult } from '@marcbachmann/cel-js'

import { ExpressionError } from './expression-rules.ts'

type CheckError = NonNullable<TypeCheckResult['error']>

/** Says what the library found in our words, with its place. */

const SYMBOLS: Readonly<Record<string, string>> = {
  RPAREN: ')',
  RBRACKET: ']',
  RBRACE: '}',
  COLON: ':',
  COMMA: ',',
}
const LIMITS: Readonly<Record<string, string>> = {
  maxAstNodes: 'More than 1000 terms: split the policy',
  maxDepth: 'Nested deeper than 32 levels',
  maxListElements: 'More than 256 items in a list',
  maxMapEntries: 'More than 64 entries in a map',
  maxCallArguments: 'Too many arguments',
}
/** What people coming from other languages write. */
const INSTEAD: Readonly<Record<string, string>> = {
  '=': '==',
  '&': '&&',
  '|': '||',
  and: '&&',
  or: '||',
  not: '!',
}

/** A mistake in the writing. */
export function parseProblem(error: ParseError, source: string): ExpressionError {
  const start = error.range?.start ?? 0
  return new ExpressionError(start, parseMessage(error, source, start))
}

/** Codes of which the library's words are replaced whole. */
const WORDS: Readonly<Record<string, string>> = {
  unterminated_string: 'The text is not closed: its quote is missing',
  unterminated_triple_quoted_string: 'The text is not closed: its quotes are missing',
  newline_in_string: 'The text is not closed on its line',
}
const UNEXPECTED = new Set(['unexpected_token', 'expected_token', 'unexpected_character'])

function parseMessage({ code, summary }: ParseError, source: string, start: number): string {
  const limit = /^Exceeded (\w+)/.exec(summary)?.[1]
  if (limit !== undefined) return LIMITS[limit] ?? summary
  if (code === 'reserved_identifier') return `"${wordAt(source, start)}" is a reserved word`
  if (!UNEXPECTED.has(code)) return WORDS[code] ?? summary
  const wanted = /^Expected (\w+)/.exec(summary)?.[1] ?? ''
  return unexpected(source, start, wanted === 'IDENTIFIER' ? 'a name' : quoted(SYMBOLS[wanted]))
}

function unexpected(source: string, start: number, wanted: string | null): string {
  if (source.slice(start).trim() === '') {
    const before = wanted === null ? 'too early' : `before ${wanted}`
    return `The expression ends ${before}`
  }
  const found = wordAt(source, start)
  if (/(?:^|[\s(&|])not\s+$/.test(source.slice(0, start))) return 'Unexpected "not": write !'
  if (Object.hasOwn(INSTEAD, found)) return `Unexpected "${found}": write ${INSTEAD[found]}`
  return wanted === null ? `Unexpected "${found}"` : `Expected ${wanted}, found "${found}"`
}

function quoted(symbol: string | undefined): string | null {
  return symbol === undefined ? null : `"${symbol}"`
}

function wordAt(source: string, start: number): string {
  return /^(\w{1,40}|[^])/u.exec(source.slice(start))?.[0] ?? ''
}

/** A mistake in the types. */
export function typeProblem(error: CheckError): ExpressionError {
  return new ExpressionError(error.range?.start ?? 0, typeMessage(error))
}

function typeMessage({ code, summary }: CheckError): string {
  const [first = '', second = ''] = [...summary.matchAll(/'([^']*)'/g)].map(([, type]) => type)
  if (code === 'invalid_condition_type') return `A condition must be true or false, not ${first}`
  if (code === 'no_such_overload') return operatorMessage(summary)
  if (code === 'no_matching_overload') return overloadMessage(first)
  if (code === 'invalid_logical_operand') return `&& and || take true or false, not ${first}`
  if (code === 'incompatible_ternary_branches') {
    return `Both sides of ":" must have one type, not ${first} and ${second}`
  }
  if (code.startsWith('heterogeneous')) {
    return `Items of a list or map must have one type, not ${first} and ${second}`
  }
  if (code === 'invalid_index_type') return indexMessage(first)
  if (code === 'cannot_index_type') return `A value of type ${first} has no fields`
  return summary
}

function overloadMessage(call: string): string {
  const instead = /^list[^.]*\.contains\(/.test(call) ? ', write "x" in …' : ''
  return `Wrong types: there is no ${call}${instead}`
}

function indexMessage(type: string): string {
  return type === 'string'
    ? 'A list has no fields: count its items with size(…), look for one with "x" in …'
    : `An index of a list must be int, not ${type}`
}

function operatorMessage(summary: string): string {
  const types = summary.replace(/^no such overload: /, '')
  const pair = /^(.+) (==|!=|<=|>=|<|>|in|[-+*/%]) (.+)$/.exec(types)
  if (pair === null) return `Operator ${types.charAt(0)} does not take ${types.slice(1)}`
  return `Operator ${pair[2]} does not take ${pair[1]} and ${pair[3]}`
}

const RUN: Readonly<Record<string, string>> = {
  division_by_zero: 'division by zero',
  modulo_by_zero: 'division by zero',
  numeric_overflow: 'integer overflow',
  index_out_of_bounds: 'no item at this index',
  no_such_key: 'no such key',
}

/** An error of an evaluation, without the values of a caller that the library's own words hold. */
export function runProblem({ code }: EvaluationError): string {
  if (code.endsWith('_conversion_error')) return 'a value cannot be converted'
  return RUN[code] ?? 'it cannot be evaluated'
}
