import { Environment, EvaluationError, ParseError, type ParseResult } from '@marcbachmann/cel-js'
import type { RE2JS } from 're2js'

import {
  CallerFacts,
  type ExpressionFacts,
  FIELDS,
  RequestFacts,
  TimeFacts,
  TooLarge,
  ZoneClock,
} from './expression-facts.ts'
import { parseProblem, runProblem, typeProblem } from './expression-messages.ts'
import { warmPattern } from './expression-pattern.ts'
import { type Edit, ExpressionError, Walk } from './expression-rules.ts'

/**
 * CEL expressions (the Common Expression Language, cel-spec): parsed, type-checked and bounded at load,
 * evaluated in microseconds. What they see is in `expression-facts.ts`, what they may say in
 * `expression-rules.ts`; nobody else touches the library.
 */

/** The longest expression, characters. */
export const EXPRESSION_CHARS_MAX = 4096
/** The most work one expression may be, in evaluated nodes of about 50 ns. */
export const EXPRESSION_COST_MAX = 200_000

/** What the parser itself bounds. Chains like `a || b || c` are not deep to it: their nodes count. */
const LIMITS = {
  maxAstNodes: 1000,
  maxDepth: 32,
  maxListElements: 256,
  maxMapEntries: 64,
  maxCallArguments: 4,
}

/** What a file is told of one of its expressions. */
export type ExpressionVerdict =
  | { readonly ok: true; readonly cost: number }
  | {
      readonly ok: false
      /** Where in the expression, UTF-16 units. */
      readonly offset: number
      readonly message: string
      readonly unknown: { readonly word: string; readonly known: readonly string[] } | null
    }

/** One expression, ready. A string says why it could not be told; it holds nothing a caller sent. */
export interface Expression {
  readonly cost: number
  holds(facts: ExpressionFacts): boolean | string
}

/** Says what is wrong with an expression, where, and what it may cost. Never throws. */
export function checkExpression(source: string): ExpressionVerdict {
  try {
    return { ok: true, cost: new Expressions().compile(source).cost }
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error
    const { offset, message, unknown } = error
    return { ok: false, offset, message, unknown }
  }
}

/** The expressions of one snapshot; they share patterns and clocks. */
export class Expressions {
  readonly #patterns = new Map<string, RE2JS>()
  readonly #zones = new Map<string, ZoneClock>()
  readonly #environment: Environment

  constructor() {
    this.#environment = environment(this.#patterns, this.#zones)
  }

  /** Throws ExpressionError. */
  compile(source: string): Expression {
    if (source.length > EXPRESSION_CHARS_MAX) {
      const message = `${source.length} characters are too many: at most ${EXPRESSION_CHARS_MAX}`
      throw new ExpressionError(0, message)
    }
    const walk = new Walk(source)
    const cost = Math.ceil(walk.cost(this.#parsed(source).ast))
    const { type } = this.#typed(source)
    if (type !== 'bool') {
      throw new ExpressionError(0, `The expression is of type ${type}: it must be true or false`)
    }
    if (cost > EXPRESSION_COST_MAX) {
      const message = `The expression can be too much work (${cost} steps of at most ${EXPRESSION_COST_MAX}): nest fewer loops`
      throw new ExpressionError(0, message)
    }
    for (const [pattern, compiled] of walk.patterns) {
      warmPattern(compiled)
      this.#patterns.set(pattern, compiled)
    }
    for (const zone of walk.zones) this.#zones.set(zone, new ZoneClock(zone))
    const program = this.#edited(applyEdits(source, walk.edits))
    return { cost, holds: (facts) => run(program, facts) }
  }

  /** Edits make an expression a little larger, which can be what the parser refuses. */
  #edited(source: string): ParseResult {
    try {
      return this.#typed(source).program
    } catch (error) {
      throw error instanceof ExpressionError ? new ExpressionError(0, error.message) : error
    }
  }

  #parsed(source: string): ParseResult {
    try {
      return this.#environment.parse(source)
    } catch (error) {
      if (error instanceof ParseError) throw parseProblem(error, source)
      throw error
    }
  }

  #typed(source: string): { readonly program: ParseResult; readonly type: string } {
    const program = this.#parsed(source)
    const { type = '', error } = program.check()
    if (error !== undefined) throw typeProblem(error)
    return { program, type }
  }
}

/** The total typed environment: three variables, and what is ours beside CEL's own functions. */
function environment(
  patterns: ReadonlyMap<string, RE2JS>,
  zones: ReadonlyMap<string, ZoneClock>,
): Environment {
  const sync = { async: false }
  const re2 = (text: string, pattern: string) => patterns.get(pattern)!.test(text)
  const zone = (time: TimeFacts, name: string) => zones.get(name)!.at(time.wallMs)
  return new Environment({ limits: LIMITS })
    .registerType('Request', {
      ctor: RequestFacts,
      fields: { ...FIELDS.request, has_max_output_tokens: 'bool' },
    })
    .registerType('Caller', { ctor: CallerFacts, fields: FIELDS.caller })
    .registerType('Time', { ctor: TimeFacts, fields: FIELDS.time })
    .registerVariable('request', 'Request')
    .registerVariable('caller', 'Caller')
    .registerVariable('time', 'Time')
    .registerFunction('string.re2(string): bool', re2, sync)
    .registerFunction('Time.zone(string): Time', zone, sync)
    .registerFunction('Caller.label(string): string', labelOf, sync)
}

function labelOf(caller: CallerFacts, name: string): string {
  return caller.label(name)
}

function run(program: ParseResult, facts: ExpressionFacts): boolean | string {
  try {
    const value: unknown = program(facts)
    return typeof value === 'boolean' ? value : 'it is not true or false'
  } catch (error) {
    if (error instanceof TooLarge) return error.message
    return error instanceof EvaluationError ? runProblem(error) : 'it cannot be evaluated'
  }
}

/** Edits never overlap: each replaces text that holds no other. */
function applyEdits(source: string, edits: readonly Edit[]): string {
  let text = source
  for (const edit of [...edits].sort((a, b) => b.start - a.start)) {
    text = text.slice(0, edit.start) + edit.text + text.slice(edit.end)
  }
  return text
}
