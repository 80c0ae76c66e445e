import type { ASTNode } from '@marcbachmann/cel-js'
import { RE2JS } from 're2js'

import {
  FIELDS,
  INT_MAX,
  ITEMS_MAX,
  LIST_UNITS_MAX,
  type Root,
  TEXT_UNITS_MAX,
} from './expression-facts.ts'
import { patternCost, PATTERN_CHARS_MAX, patternProblem } from './expression-pattern.ts'

/**
 * The part of CEL that expressions may use, as a closed list: everything the walk does not know is
 * refused, and what it knows is bounded, so that neither the author of a file nor its callers can make
 * an evaluation long. It also notes where the text must be changed before it is compiled.
 */

/** Why an expression is refused, and where in it. `unknown` is for "did you mean". */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError'
  readonly offset: number
  readonly unknown: { readonly word: string; readonly known: readonly string[] } | null

  constructor(offset: number, message: string, unknown: ExpressionError['unknown'] = null) {
    super(message)
    this.offset = offset
    this.unknown = unknown
  }
}

/** Puts `text` in place of the source from `start` to `end`. */
export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/**
 * What a value can grow to: work to make it, items it holds and items each of those holds, UTF-16
 * units of its longest text; of a list, of its texts on average, because a loop meets each of them
 * once. Work is counted in evaluated nodes, about 50 ns each.
 */
interface Bound {
  readonly cost: number
  readonly items: number
  readonly inner: number
  readonly units: number
}
type Scope = ReadonlyMap<string, Bound>
type Node<Op extends ASTNode['op']> = Extract<ASTNode, { readonly op: Op }>

const SCALAR: Bound = { cost: 1, items: 0, inner: 0, units: 0 }
const FUNCTIONS = ['has', 'size', 'int', 'uint', 'double', 'string', 'bool', 'bytes']
const METHODS = ['startsWith', 'endsWith', 'contains', 're2', 'size', 'zone']
const MACROS = ['all', 'exists', 'exists_one', 'filter', 'map']
/** Names the library would drop from a map without a word. */
const LOST_KEYS = ['__proto__', 'constructor', 'prototype']
/** Units of text a plain comparison gets through in the time of one node. */
const UNITS_PER_COST = 256
/** A formatted clock. */
const ZONE_COST = 100

/** Walks one expression. Throws ExpressionError at the first thing that is not allowed. */
export class Walk {
  readonly edits: Edit[] = []
  readonly patterns = new Map<string, RE2JS>()
  readonly zones = new Set<string>()
  readonly #source: string

  constructor(source: string) {
    this.#source = source
  }

  /** The most work an evaluation of `node` can be. */
  cost(node: ASTNode): number {
    return this.#visit(node, new Map()).cost
  }

  #visit(node: ASTNode, scope: Scope): Bound {
    if (node.op === 'value') return this.#literal(node)
    if (node.op === 'id') return this.#name(node, scope)
    if (node.op === '.') return this.#field(node, scope)
    if (node.op === '[]') return this.#index(node, scope)
    if (node.op === 'call') return this.#call(node, scope)
    if (node.op === 'rcall') return this.#method(node, scope)
    if (node.op === 'list') return this.#list(node.args, scope)
    if (node.op === 'map') return this.#map(node, scope)
    return this.#operator(node, scope)
  }

  #operator(node: ASTNode, scope: Scope): Bound {
    if (node.op === '?:') return sum(node.args.map((each) => this.#visit(each, scope)))
    if (node.op === '!_') return logical([this.#visit(node.args, scope)])
    if (node.op === '-_') return this.#minus(node, scope)
    if (node.op === '.?' || node.op === '[?]') {
      throw new ExpressionError(node.start, 'Optional access is not supported')
    }
    const [left, right] = (node as Node<'+'>).args
    const sides = [this.#visit(left, scope), this.#visit(right, scope)] as const
    if (node.op === '+') return withWork(sum(sides))
    return logical([withWork(sum(sides))])
  }

  /** Only before a number: `-x` of the smallest integer would leave 64 bits unnoticed. */
  #minus(node: Node<'-_'>, scope: Scope): Bound {
    const inner = node.args
    if (inner.op !== 'value' || !/^[\d.]/.test(this.#source.slice(inner.start))) {
      throw new ExpressionError(node.start, 'A minus stands before a number here: write 0 - x')
    }
    if (inner.args === INT_MAX + 1n) return SCALAR
    return this.#visit(inner, scope)
  }

  #literal({ args, start }: Node<'value'>): Bound {
    if (typeof args === 'bigint' && args > INT_MAX) {
      throw new ExpressionError(start, 'The number is out of range: an int has 64 bits')
    }
    const units = typeof args === 'string' || args instanceof Uint8Array ? args.length : 0
    return { cost: 1, items: 0, inner: 0, units }
  }

  #name({ args: name, start }: Node<'id'>, scope: Scope): Bound {
    const bound = scope.get(name)
    if (bound !== undefined) return bound
    if (isRoot(name)) return SCALAR
    const root = Object.keys(FIELDS)
      .filter(isRoot)
      .find((each) => Object.hasOwn(FIELDS[each], name))
    if (root !== undefined) {
      const message = `Unknown name "${name}": did you mean ${root}.${name}?`
      throw new ExpressionError(start, message)
    }
    const known = [...Object.keys(FIELDS), ...scope.keys()]
    throw new ExpressionError(start, `Unknown name "${name}"`, { word: name, known })
  }

  #field(node: Node<'.'>, scope: Scope): Bound {
    const [left, name] = node.args
    const root = rootOf(left, scope)
    if (root !== null) return boundOf(root, name, node.pos)
    const bound = this.#visit(left, scope)
    if (left.op === 'rcall' && left.args[0] === 'zone') {
      const field = boundOf('time', name, node.pos)
      return { ...field, cost: bound.cost + field.cost }
    }
    if (isLabels(left, scope)) {
      this.#plain(left.end, node.end, /^\s*\.\s*\w+$/)
      this.#edit(node.start, node.end, `caller.label(${JSON.stringify(name)})`)
      return { cost: bound.cost + 2, items: 0, inner: 0, units: TEXT_UNITS_MAX }
    }
    return { ...elementOf(bound), cost: bound.cost + 1 }
  }

  #index(node: Node<'[]'>, scope: Scope): Bound {
    const [left, index] = node.args
    if (rootOf(left, scope) !== null) {
      throw new ExpressionError(node.start, 'Name the field: write request.model')
    }
    const bound = this.#visit(left, scope)
    const inner = this.#visit(index, scope)
    const cost = bound.cost + inner.cost + 1
    // One item can be as long as one text may be, however short they are on average.
    const units = Math.max(bound.units, TEXT_UNITS_MAX)
    if (!isLabels(left, scope)) return { ...elementOf(bound), cost, units }
    this.#plain(left.end, index.start, /^\s*\[[\s(]*$/)
    this.#plain(index.end, node.end, /^[\s)]*\]$/)
    this.#edit(node.start, index.start, 'caller.label(')
    this.#edit(index.end, node.end, ')')
    return { cost: cost + 2, items: 0, inner: 0, units: TEXT_UNITS_MAX }
  }

  /** What is replaced must be all there is: no comment, no bracket of something else. */
  #plain(start: number, end: number, pattern: RegExp): void {
    if (pattern.test(this.#source.slice(start, end))) return
    const message = 'Write caller.labels.name or caller.labels["name"] in one piece'
    throw new ExpressionError(start, message)
  }

  #edit(start: number, end: number, text: string): void {
    this.edits.push({ start, end, text })
  }

  #call(node: Node<'call'>, scope: Scope): Bound {
    const [name, args] = node.args
    if (name === 'has' && args.length === 1) return this.#has(node, scope)
    if (!FUNCTIONS.includes(name)) {
      throw new ExpressionError(node.start, `Unknown function "${name}"`, {
        word: name,
        known: FUNCTIONS,
      })
    }
    const bound = sum(args.map((each) => this.#visit(each, scope)))
    return { cost: withWork(bound).cost + 1, items: 0, inner: 0, units: Math.max(32, bound.units) }
  }

  /** `has()` of a field that always reads as something: whether it is more than nothing. */
  #has(node: Node<'call'>, scope: Scope): Bound {
    const [, [argument]] = node.args
    if (argument?.op !== '.') throw notAField(argument ?? node)
    const [left, name] = argument.args
    if (isLabels(left, scope)) return { ...SCALAR, cost: 3 }
    const root = rootOf(left, scope)
    if (root === null) throw notAField(argument)
    const bound = boundOf(root, name, argument.pos)
    this.#edit(node.start, node.end, `(${presence(root, name)})`)
    return logical([bound])
  }

  #method(node: Node<'rcall'>, scope: Scope): Bound {
    const [name, receiver, args] = node.args
    if (MACROS.includes(name)) return this.#loop(node, scope)
    if (!METHODS.includes(name)) throw unknownMethod(node, receiver)
    if (name === 'zone') return this.#zone(node, args, scope)
    const bound = sum([receiver, ...args].map((each) => this.#visit(each, scope)))
    if (name !== 're2') return logical([withWork(bound)])
    const perUnit = patternCost(this.#pattern(node, args))
    return logical([{ ...bound, cost: bound.cost + 10 + bound.units * perUnit }])
  }

  #pattern(node: Node<'rcall'>, [argument, ...more]: readonly ASTNode[]): RE2JS {
    const pattern = argument?.op === 'value' ? argument.args : null
    if (argument === undefined || more.length > 0 || typeof pattern !== 'string') {
      const at = argument?.start ?? node.start
      throw new ExpressionError(at, 're2() takes one pattern, written out: text.re2("^gpt-4")')
    }
    if (pattern.length > PATTERN_CHARS_MAX) {
      const message = `The pattern is too long: at most ${PATTERN_CHARS_MAX} characters`
      throw new ExpressionError(argument.start, message)
    }
    if (pattern.includes('\b')) {
      const message = 'The pattern holds a backspace, which is what "\\b" is here: write r"\\b"'
      throw new ExpressionError(argument.start, message)
    }
    try {
      const compiled = RE2JS.compile(pattern)
      this.patterns.set(pattern, compiled)
      return compiled
    } catch (error) {
      const message = `Cannot compile the pattern: ${patternProblem(pattern, error)}`
      throw new ExpressionError(argument.start, message)
    }
  }

  #zone(node: Node<'rcall'>, [argument]: readonly ASTNode[], scope: Scope): Bound {
    const [, receiver] = node.args
    const zone = argument?.op === 'value' ? argument.args : null
    if (rootOf(receiver, scope) !== 'time' || typeof zone !== 'string') {
      const message = 'Name the zone, written out: time.zone("Europe/Berlin").hour'
      throw new ExpressionError(argument?.start ?? node.start, message)
    }
    if (!isTimeZone(zone)) {
      const message = `Unknown time zone "${zone}": expected one like UTC or Europe/Berlin`
      throw new ExpressionError(argument?.start ?? node.start, message)
    }
    this.zones.add(zone)
    return { cost: ZONE_COST, items: 0, inner: 0, units: 10 }
  }

  #loop(node: Node<'rcall'>, scope: Scope): Bound {
    const [name, receiver, args] = node.args
    const over = this.#visit(receiver, scope)
    const [variable, ...bodies] = args
    if (variable?.op !== 'id' || bodies.length === 0) {
      const message = `${name}() takes a name and a condition: request.tools.${name}(t, t != "")`
      throw new ExpressionError(node.start, message)
    }
    if (isRoot(variable.args) || scope.has(variable.args)) {
      throw new ExpressionError(variable.start, `Name "${variable.args}" is taken: use another one`)
    }
    const inner = new Map([...scope, [variable.args, { ...elementOf(over), cost: 1 }]])
    const body = sum(bodies.map((each) => this.#visit(each, inner)))
    const cost = over.cost + 1 + over.items * (body.cost + 1)
    if (name === 'filter') return { ...over, cost }
    if (name === 'map') {
      return { cost, items: over.items, inner: body.items + body.inner, units: body.units }
    }
    return { ...SCALAR, cost }
  }

  #list(items: readonly ASTNode[], scope: Scope): Bound {
    const bound = sum(items.map((each) => this.#visit(each, scope)))
    return { ...bound, items: items.length, inner: bound.items + bound.inner }
  }

  #map({ args: entries }: Node<'map'>, scope: Scope): Bound {
    const keys = new Set<string>()
    for (const [key] of entries) {
      const text = key.op === 'value' ? key.args : null
      if (typeof text !== 'string' || LOST_KEYS.includes(text)) {
        throw new ExpressionError(key.start, 'A key of a map is a text, written out: {"a": 1}')
      }
      if (keys.has(text)) throw new ExpressionError(key.start, `Key "${text}" is there already`)
      keys.add(text)
    }
    return this.#list(entries.flat(), scope)
  }
}

/** All of them, one after the other. */
function sum(bounds: readonly Bound[]): Bound {
  const total = { cost: 1, items: 0, inner: 0, units: 0 }
  for (const { cost, items, inner, units } of bounds) {
    total.cost += cost
    total.items += items
    total.inner += inner
    total.units += units
  }
  return total
}

/** What one item of a list or map can be. */
function elementOf({ inner, units }: Bound): Bound {
  return { cost: 0, items: inner, inner, units }
}

/** What looking at every item and every unit costs. */
function withWork(bound: Bound): Bound {
  const perItem = 1 + bound.units / UNITS_PER_COST
  return { ...bound, cost: bound.cost + (bound.items * (1 + bound.inner) + 1) * perItem }
}

/** A value without items or text. */
function logical(bounds: readonly Bound[]): Bound {
  return { ...SCALAR, cost: sum(bounds).cost }
}

function isRoot(name: string): name is Root {
  return Object.hasOwn(FIELDS, name)
}

/** The variable that `node` names; null when it is something else. */
function rootOf(node: ASTNode, scope: Scope): Root | null {
  if (node.op !== 'id' || scope.has(node.args)) return null
  return isRoot(node.args) ? node.args : null
}

function isLabels(node: ASTNode, scope: Scope): boolean {
  return node.op === '.' && node.args[1] === 'labels' && rootOf(node.args[0], scope) === 'caller'
}

function boundOf(root: Root, name: string, at: number): Bound {
  const fields: Readonly<Record<string, string>> = FIELDS[root]
  if (!Object.hasOwn(fields, name)) {
    const known = Object.keys(fields)
    throw new ExpressionError(at, `Unknown field "${name}" of ${root}`, { word: name, known })
  }
  const path = `${root}.${name}`
  const items = Object.hasOwn(ITEMS_MAX, path) ? ITEMS_MAX[path as keyof typeof ITEMS_MAX] : 0
  const texts = items === 0 ? TEXT_UNITS_MAX : LIST_UNITS_MAX / items
  return { cost: 2, items, inner: 0, units: fields[name]?.includes('string') ? texts : 0 }
}

/** What `has()` of a field says, written with what is always there. */
function presence(root: Root, name: string): string {
  if (root === 'time') return 'true'
  const path = `${root}.${name}`
  if (path === 'request.max_output_tokens') return 'request.has_max_output_tokens'
  const fields: Readonly<Record<string, string>> = FIELDS[root]
  const type = fields[name]
  if (type === 'bool') return path
  if (type === 'int') return `${path} != 0`
  return type === 'string' ? `${path} != ""` : `size(${path}) > 0`
}

function notAField({ start }: ASTNode): ExpressionError {
  const message = 'has() takes a field, like request.model or caller.labels.tier'
  return new ExpressionError(start, message)
}

function unknownMethod(node: Node<'rcall'>, receiver: ASTNode): ExpressionError {
  const [name] = node.args
  if (name === 'matches') {
    const message = 'matches() is not supported, its time has no bound: use re2()'
    return new ExpressionError(receiver.end, message)
  }
  const known = [...METHODS, ...MACROS]
  return new ExpressionError(receiver.end, `Unknown function "${name}"`, { word: name, known })
}

function isTimeZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}
