import type { Address, Rate } from './snapshot.ts'

/**
 * The language `schema.ts` is written in. A spec is plain data, read by the validator (`read.ts`) and
 * by the generators of the JSON Schema and the reference (`reference.ts`); its type parameter is what
 * the validator returns for it.
 */
export interface Spec<Value> {
  readonly shape: Shape
  /** Never present: carries the type. */
  readonly type?: Value
}

/** A key of a map. */
export interface Field<Value> {
  readonly spec: Spec<unknown>
  /** A sentence or two for the reference. */
  readonly doc: string
  /** `required`, or as it would be written in the file; absent means null. */
  readonly presence: 'required' | 'optional' | { readonly written: string }
  /** Never present: carries the type. */
  readonly type?: Value
}

/** A member of a list of names: itself, or `$set` for the members of a set. */
export type Name = { readonly text: string } | { readonly set: string }

/** What a value looks like; every kind is read in one place and described in one place. */
export type Shape =
  | {
      readonly kind: 'text'
      readonly what: string
      readonly pattern: RegExp
      readonly charsMax: number
    }
  | { readonly kind: 'expression'; readonly what: string; readonly charsMax: number }
  | { readonly kind: 'secret' }
  /** Values `later` are not built yet; `*` there means every other value. */
  | {
      readonly kind: 'choice'
      readonly values: readonly string[]
      readonly later: readonly string[]
    }
  | { readonly kind: 'boolean' }
  /** A text or a list of them, of any characters. */
  | {
      readonly kind: 'texts'
      readonly what: string
      readonly max: number
      readonly charsMax: number
    }
  | { readonly kind: 'integer'; readonly min: number; readonly max: number }
  /** A decimal number from 0 to 1. */
  | { readonly kind: 'fraction' }
  /** A number within bounds, both included. */
  | {
      readonly kind: 'number'
      readonly min: number
      readonly max: number
      readonly isWhole: boolean
    }
  | { readonly kind: 'duration'; readonly min: string; readonly max: string }
  | { readonly kind: 'size'; readonly min: string; readonly max: string }
  | { readonly kind: 'rate' }
  | { readonly kind: 'cost' }
  /** USD per million tokens. */
  | { readonly kind: 'price' }
  | { readonly kind: 'address' }
  | { readonly kind: 'names'; readonly what: string; readonly max: number }
  | {
      readonly kind: 'list'
      readonly item: Spec<unknown>
      readonly min: number
      readonly max: number
    }
  | {
      readonly kind: 'record'
      readonly key: RegExp
      readonly value: Spec<unknown>
      readonly max: number
    }
  | {
      readonly kind: 'map'
      readonly name: string
      readonly fields: Fields
      /** What a string here is, where the language takes one too. */
      readonly orText?: { readonly what: string; readonly charsMax: number }
      /** What a single value here is, where one stands for the map. */
      readonly orValue?: Shape
    }
  /** A part of the language that is not built yet: its presence is an error. */
  | { readonly kind: 'later' }

/** The keys of a map, in the order of the reference. */
export type Fields = Readonly<Record<string, Field<unknown>>>
type Values<F extends Fields> = {
  readonly [Key in keyof F]: F[Key] extends Field<infer Value> ? Value : never
}
/** What the validator returns for a spec. */
export type Read<S> = S extends Spec<infer Value> ? Value : never

const ANYTHING = /^\P{Cc}*[^\s\p{Cc}]\P{Cc}*$/u

/** A string on one line; `what` completes "Expected …" in messages. */
export function text(what: string, pattern = ANYTHING, charsMax = 256): Spec<string> {
  return { shape: { kind: 'text', what, pattern, charsMax } }
}

/** Text in which `: `, ` #` and a leading `!` are likely, so that the reader asks for quotes. */
export function expression(what: string, charsMax: number): Spec<string> {
  return { shape: { kind: 'expression', what, charsMax } }
}

/** Resolved secret; null when the variable has an empty default or is not set yet. */
export function secret(): Spec<string | null> {
  return { shape: { kind: 'secret' } }
}

/** One of `values`; those of `notBuilt` are refused as not built yet, `*` being every other. */
export function choice<const All extends readonly string[]>(
  values: All,
  notBuilt: readonly string[] = [],
): Spec<All[number]> {
  return { shape: { kind: 'choice', values, later: notBuilt } }
}

/** A switch. */
export function boolean(): Spec<boolean> {
  return { shape: { kind: 'boolean' } }
}

/** One text or a list of them, line breaks and all; read as a list. */
export function texts(
  what: string,
  { max, charsMax }: { readonly max: number; readonly charsMax: number },
): Spec<readonly string[]> {
  return { shape: { kind: 'texts', what, max, charsMax } }
}

/** A whole number within bounds, both included. */
export function integer(min: number, max: number): Spec<number> {
  return { shape: { kind: 'integer', min, max } }
}

/** A decimal number from 0 to 1, both included. */
export function fraction(): Spec<number> {
  return { shape: { kind: 'fraction' } }
}

/** A number within bounds, both included. */
export function number(min: number, max: number, isWhole = false): Spec<number> {
  return { shape: { kind: 'number', min, max, isWhole } }
}

/** Milliseconds; bounds as written in the file. */
export function duration(min: string, max: string): Spec<number> {
  return { shape: { kind: 'duration', min, max } }
}

/** Bytes; bounds as written in the file. */
export function size(min: string, max: string): Spec<number> {
  return { shape: { kind: 'size', min, max } }
}

/** `100/60s`; see `parseRate`. */
export function rate(): Spec<Rate> {
  return { shape: { kind: 'rate' } }
}

/** `50 USD/day`, read as a rate of nano-USD; see `parseCost`. */
export function cost(): Spec<Rate> {
  return { shape: { kind: 'cost' } }
}

/** USD per million tokens as a decimal number, read as pico-USD per token; see `parsePrice`. */
export function price(): Spec<number> {
  return { shape: { kind: 'price' } }
}

/** `host:port`; see `parseAddress`. */
export function address(): Spec<Address> {
  return { shape: { kind: 'address' } }
}

/** A list of names, or a `$set` for the whole list or for some of it. */
export function names(what: string, max = 1000): Spec<readonly Name[]> {
  return { shape: { kind: 'names', what, max } }
}

/** A list with bounds on its length, both included. */
export function list<Value>(
  item: Spec<Value>,
  { min, max }: { readonly min: number; readonly max: number },
): Spec<readonly Value[]> {
  return { shape: { kind: 'list', item, min, max } }
}

/** A map with names of the user’s own, which must match `key`. */
export function record<Value>(
  value: Spec<Value>,
  { key, max }: { readonly key: RegExp; readonly max: number },
): Spec<Readonly<Record<string, Value>>> {
  return { shape: { kind: 'record', key, value, max } }
}

/** `name` heads its table in the reference and its definition in the JSON Schema. */
export function map<const F extends Fields>(name: string, fields: F): Spec<Values<F>> {
  return { shape: { kind: 'map', name, fields } }
}

/** The same map, or an expression in its place. */
export function orExpression<Value>(
  spec: Spec<Value>,
  what: string,
  charsMax: number,
): Spec<Value | string> {
  const { shape } = spec
  return shape.kind === 'map' ? { shape: { ...shape, orText: { what, charsMax } } } : { shape }
}

/** The same map, or a single value in its place. */
export function orValue<Value, Single>(
  spec: Spec<Value>,
  { shape: single }: Spec<Single>,
): Spec<Value | Single> {
  const { shape } = spec
  return shape.kind === 'map' ? { shape: { ...shape, orValue: single } } : { shape }
}

/** A field that must be there. */
export function required<Value>(spec: Spec<Value>, doc: string): Field<Value> {
  return { spec, doc, presence: 'required' }
}

/** A field that may be absent, and is null then. */
export function optional<Value>(spec: Spec<Value>, doc: string): Field<Value | null> {
  return { spec, doc, presence: 'optional' }
}

/** `written` is the default as the file would say it: `16MiB`, `deny`, `[]`, `{}`. */
export function defaulted<Value>(spec: Spec<Value>, written: string, doc: string): Field<Value> {
  return { spec, doc, presence: { written } }
}

/** A field of the contract that this version refuses. */
export function later(doc: string): Field<null> {
  return { spec: { shape: { kind: 'later' } }, doc, presence: 'optional' }
}
