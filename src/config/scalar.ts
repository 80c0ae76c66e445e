import { isScalar, type Scalar } from 'yaml'

import { suggestion, type Path } from './problem.ts'
import { NOT_BUILT, shownScalar, type Report } from './report.ts'
import { quote, scalarText } from './source.ts'
import type { Shape } from './spec.ts'
import { substitute } from './substitute.ts'
import {
  parseAddress,
  parseCost,
  parseDuration,
  parsePrice,
  parseRate,
  parseSize,
  type Parsed,
} from './units.ts'

/** How variables are resolved. */
export interface ReadOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether an unset variable is an error; otherwise it is a note. */
  readonly forRun: boolean
}

/** Scalars that YAML 1.1 readers, still the most used, take for booleans. */
const OLD_BOOLEAN = /^(yes|no|on|off)$/i

/** What a shell takes for a variable. */
const SHELL_VARIABLE = /^\$[A-Z_][A-Z0-9_]*$/

const LIKE = {
  duration: '30s',
  size: '16MiB',
  rate: '100/60s',
  cost: '50 USD/day',
  address: '127.0.0.1:4141',
} as const

/**
 * Reads the leaves of the tree. Every method returns undefined when there is no usable value, which is
 * then reported; messages show what the file says, never what a variable held.
 */
export class ScalarReader {
  readonly #report: Report
  readonly #options: ReadOptions

  constructor(report: Report, options: ReadOptions) {
    this.#report = report
    this.#options = options
  }

  /** `true` or `false`. */
  boolean(node: unknown, path: Path): boolean | undefined {
    if (isScalar(node) && typeof node.value === 'boolean') return node.value
    return this.#report.unexpected(node, path, 'true or false')
  }

  /** A whole number, or a variable that holds one. */
  integer(node: unknown, shape: Shape & { kind: 'integer' }, path: Path): unknown {
    if (!isScalar(node) || node.value === null) {
      return this.#report.unexpected(node, path, 'a whole number')
    }
    let digits = scalarText(node)
    if (typeof node.value === 'string' && node.value.includes('${')) {
      const text = this.#substituted(node, node.value, path)
      if (text === undefined) return undefined
      digits = text.value
    } else if (typeof node.value !== 'number') digits = ''
    const value = /^(0|[1-9]\d{0,14})$/.test(digits) ? Number(digits) : Number.NaN
    if (value >= shape.min && value <= shape.max) return value
    const range =
      shape.min === shape.max ? `${shape.min}` : `a whole number from ${shape.min} to ${shape.max}`
    return this.#report.at(node, path, `Expected ${range}, found ${shownScalar(node)}`)
  }

  /** A decimal number from 0 to 1. */
  fraction(node: unknown, path: Path): unknown {
    const expected = 'a number from 0 to 1'
    if (!isScalar(node) || node.value === null) return this.#report.unexpected(node, path, expected)
    const isPlain = /^(?:0|1|0?\.\d{1,6}|[01]\.\d{1,6})$/.test(scalarText(node))
    const value = typeof node.value === 'number' && isPlain ? node.value : Number.NaN
    if (value >= 0 && value <= 1) return value
    return this.#report.at(node, path, `Expected ${expected}, found ${shownScalar(node)}`)
  }

  /** A decimal number of USD; as written, since floats would round it. */
  price(node: unknown, path: Path): unknown {
    if (!isScalar(node) || node.value === null) return this.#report.unexpected(node, path, 'USD')
    const parsed = parsePrice(typeof node.value === 'number' ? scalarText(node) : '')
    if (parsed.ok) return parsed.value
    const message = `Expected ${parsed.expected}, found ${shownScalar(node)}`
    return this.#report.at(node, path, message)
  }

  /** A number written as one, with at most six decimals. */
  number(node: unknown, shape: Shape & { kind: 'number' }, path: Path): unknown {
    const { min, max, isWhole } = shape
    const expected = `${isWhole ? 'a whole number' : 'a number'} from ${min} to ${max}`
    if (!isScalar(node) || node.value === null) return this.#report.unexpected(node, path, expected)
    const isPlain = /^-?(?:0|[1-9]\d{0,9})(?:\.\d{1,6})?$/.test(scalarText(node))
    const value = typeof node.value === 'number' && isPlain ? node.value : Number.NaN
    if (value >= min && value <= max && (!isWhole || Number.isInteger(value))) return value
    return this.#report.at(node, path, `Expected ${expected}, found ${shownScalar(node)}`)
  }

  #decimal(node: unknown, shape: Decimal, path: Path): unknown {
    if (shape.kind === 'number') return this.number(node, shape, path)
    return shape.kind === 'price' ? this.price(node, path) : this.fraction(node, path)
  }

  /** Every kind that is written as a string, and decimal numbers. */
  text(node: unknown, shape: Shape, path: Path): unknown {
    if (isDecimal(shape)) return this.#decimal(node, shape, path)
    if (!isScalar(node) || node.value === null) {
      return this.#report.unexpected(node, path, expectation(shape))
    }
    if (shape.kind === 'expression' && this.cut(node, path)) return undefined
    if (typeof node.value !== 'string' || looksBoolean(node, shape)) {
      return this.#notText(node, shape, path)
    }
    if (isShellVariable(node.value, shape)) {
      const message = `A variable is written \${${node.value.slice(1)}} here, not ${quote(node.value)}`
      return this.#report.at(node, path, message)
    }
    if (shape.kind === 'secret') return this.#secret(node, node.value, path)
    const text = this.#substituted(node, node.value, path)
    if (text === undefined) return shape.kind === 'text' ? node.value : undefined
    return this.#parse(node, shape, { path, value: text.value })
  }

  #parse(
    node: Scalar,
    shape: Shape,
    { path, value }: { readonly path: Path; readonly value: string },
  ): unknown {
    if (shape.kind === 'text' || shape.kind === 'expression') {
      return this.#bounded(node, shape, { path, value })
    }
    if (shape.kind === 'choice') return this.#choice(node, shape, { path, value })
    const parse = parser(shape)
    const parsed = parse(value)
    if (parsed.ok) return parsed.value
    const message = `Cannot parse ${shape.kind} ${shownScalar(node)}: expected ${parsed.expected}`
    return this.#report.at(node, path, message)
  }

  #bounded(
    node: Scalar,
    shape: Shape & { kind: 'text' | 'expression' },
    { path, value }: { readonly path: Path; readonly value: string },
  ): unknown {
    if (value.length > shape.charsMax) {
      const message = `${value.length} characters are too many: at most ${shape.charsMax}`
      return this.#report.at(node, path, message)
    }
    const pattern = shape.kind === 'text' ? shape.pattern : /\S/
    if (pattern.test(value)) return value
    return this.#report.at(node, path, `Expected ${shape.what}, found ${shownScalar(node)}`)
  }

  #choice(
    node: Scalar,
    shape: Shape & { kind: 'choice' },
    { path, value }: { readonly path: Path; readonly value: string },
  ): unknown {
    if (shape.values.includes(value)) return value
    const shown = shownScalar(node)
    if (shape.later.includes(value) || shape.later.includes('*')) {
      const use = shape.values.map((each) => JSON.stringify(each)).join(' or ')
      return this.#report.at(node, path, `Value ${shown} ${NOT_BUILT}: use ${use}`)
    }
    return this.#report.at(node, path, `Unknown value ${shown}${suggestion(value, shape.values)}`)
  }

  #secret(node: Scalar, raw: string, path: Path): string | null | undefined {
    const text = this.#substituted(node, raw, path)
    if (text === undefined) return null
    if (text.value === '') {
      const fine = raw.includes(':-')
      return fine ? null : this.#report.at(node, path, 'The credential is empty: set its variable')
    }
    if (/^[\x21-\x7e]+$/.test(text.value)) return text.value
    return this.#report.at(
      node,
      path,
      'The credential holds a space, line break or non-ASCII character',
    )
  }

  /** Undefined when the string cannot be used; a variable not set is reported or noted. */
  #substituted(node: Scalar, raw: string, path: Path): { readonly value: string } | undefined {
    const { value, unset, malformed } = substitute(raw, this.#options.env)
    if (malformed !== null) {
      return this.#report.at(node, path, `Cannot read the variable in the value: ${malformed}`)
    }
    if (unset.length === 0) return { value }
    const names = unset.map((name) => `\${${name}}`).join(', ')
    if (this.#options.forRun) {
      return this.#report.at(
        node,
        path,
        `Not set: ${names}. Set it or give it a default, \${NAME:-…}`,
      )
    }
    this.#report.note(path, `Not set here: ${names}`)
    return undefined
  }

  #notText(node: Scalar, shape: Shape, path: Path): undefined {
    const source = scalarText(node)
    if (Object.hasOwn(LIKE, shape.kind)) {
      const like = LIKE[shape.kind as keyof typeof LIKE]
      const message = `Cannot parse ${shape.kind} ${source}: a bare number is not enough, write it like ${like}`
      return this.#report.at(node, path, message)
    }
    if (shape.kind === 'secret') return this.#report.at(node, path, 'Expected ${NAME}')
    const reads =
      typeof node.value === 'string'
        ? 'Other YAML readers take this for a boolean'
        : `YAML reads this as ${JSON.stringify(node.value)}`
    return this.#report.at(node, path, `${reads}: quote it, ${quote(source)}`)
  }

  /** Whether YAML ended a plain scalar at a ` #` on its line, which is then reported. */
  cut(node: Scalar, path: Path): boolean {
    const rest = this.#report.source.text.slice(node.range?.[1])
    if (node.type !== 'PLAIN' || !/^[ \t]+#/.test(rest)) return false
    this.#report.at(node, path, 'YAML ends the text at " #": quote the expression')
    return true
  }
}

/** Where any text may stand, in prompts of tests, that is text too. */
function isShellVariable(text: string, shape: Shape): boolean {
  if (shape.kind === 'expression' || !SHELL_VARIABLE.test(text)) return false
  return shape.kind !== 'text' || shape.pattern.source !== '^'
}

type Decimal = Shape & { kind: 'fraction' | 'price' | 'number' }

function isDecimal(shape: Shape): shape is Decimal {
  return shape.kind === 'fraction' || shape.kind === 'price' || shape.kind === 'number'
}

function parser(shape: Shape): (text: string) => Parsed<unknown> {
  if (shape.kind === 'duration') return bounds(shape, parseDuration).parse
  if (shape.kind === 'size') return bounds(shape, parseSize).parse
  if (shape.kind === 'cost') return parseCost
  return shape.kind === 'rate' ? parseRate : parseAddress
}

function bounds(
  shape: { readonly min: string; readonly max: string },
  parse: (text: string) => Parsed<number>,
): { readonly parse: (text: string) => Parsed<number> } {
  const limit = (text: string) => {
    const parsed = parse(text)
    return parsed.ok ? parsed.value : Number.NaN
  }
  return {
    parse(text) {
      const parsed = parse(text)
      if (!parsed.ok || (parsed.value >= limit(shape.min) && parsed.value <= limit(shape.max))) {
        return parsed
      }
      return { ok: false, expected: `from ${shape.min} to ${shape.max}` }
    },
  }
}

function expectation(shape: Shape): string {
  if (shape.kind === 'text' || shape.kind === 'expression') return shape.what
  if (shape.kind === 'secret') return '${NAME}'
  if (shape.kind !== 'choice') return `a ${shape.kind}`
  return shape.values.map((value) => JSON.stringify(value)).join(' or ')
}

function looksBoolean({ type, value }: Scalar, { kind }: Shape): boolean {
  if (type !== 'PLAIN' || (kind !== 'text' && kind !== 'secret')) return false
  return typeof value === 'string' && OLD_BOOLEAN.test(value)
}
