import { GovernorError } from '../errors.ts'
import {
  type Facts,
  isOperation,
  NEEDS_MODEL,
  type Operation,
  OPERATIONS,
  UNINSPECTABLE_KINDS,
  type UninspectableKind,
  UNUSUAL,
  type Unusual,
} from '../exchange.ts'
import { inTurns } from '../turns.ts'
import { KIND } from './json-tape.ts'
import { type JsonDocument, readJson } from './json.ts'
import { modelInvalid, readModel } from './openai-fields.ts'
import { unescapedReadings } from './unescape.ts'

/** A call that is described instead of made. */
export interface Described {
  readonly operation: Operation
  readonly facts: Facts
}

/** Where a credential says who calls, these fields may stand in a description and say nothing. */
const IDENTITY = ['tenant', 'user', 'key', 'roles', 'labels', 'unusual', 'time']
/** Every field of a described request; `tests:` has the same, without `input_text`. */
export const DESCRIBED_FIELDS: ReadonlySet<string> = new Set([
  ...IDENTITY,
  'operation',
  'model',
  'input',
  'input_text',
  'stream',
  'max_output_tokens',
  'tools',
  'uninspectable',
])
const TEXTS_MAX = 10_000
/** How a description is read. */
export interface DescribedReading {
  readonly jsonDepth: number
  /** Names of operations beside the usual ones. */
  readonly operations: readonly string[]
}

/**
 * Reads a described request: `{operation,model,input,stream,max_output_tokens,tools,…}`, where
 * `input` (or `input_text`) is a text or a list of texts, the parts of one prompt. Throws BODY_INVALID,
 * FIELD_INVALID and MODEL_INVALID.
 */
export async function readDescribed(
  body: Buffer,
  { jsonDepth, operations: own }: DescribedReading,
): Promise<Described> {
  const doc = await inTurns(readJson(body, jsonDepth))
  for (const value of doc.children(0)) {
    const name = doc.text(value - 1)
    if (!DESCRIBED_FIELDS.has(name))
      throw invalid(name.slice(0, 64), `it is not one of ${[...DESCRIBED_FIELDS].join(', ')}`)
  }
  const operation = texts(doc, 'operation', 1)[0] ?? 'chat'
  if (!isOperation(operation, own)) {
    throw invalid('operation', `it is one of ${[...OPERATIONS, ...own].join(', ')}`)
  }
  const model = readModelName(doc, operation)
  const inputs = [...texts(doc, 'input'), ...texts(doc, 'input_text')]
  const tools = texts(doc, 'tools')
  const values = await inTurns(readings(inputs, model === '' ? tools : [...tools, model]))
  return {
    operation,
    facts: {
      model,
      models: model === '' ? [] : [model],
      stream: boolean(doc, 'stream'),
      maxOutputTokens: integer(doc, 'max_output_tokens'),
      tools,
      texts: { values, pointer: (index) => `/input/${index}` },
      inputChars: [...inputs, ...tools].reduce((sum, value) => sum + value.length, 0),
      uninspectable: unread(doc),
      askUsage: null,
    },
  }
}

/** The rules of a real call: a plain name, and one there has to be where the operation asks a model. */
function readModelName(doc: JsonDocument, operation: Operation): string {
  const node = doc.given(0, 'model')
  if (node !== -1 && !doc.isString(node, '')) return readModel(doc, node)
  if (NEEDS_MODEL.has(operation)) throw modelInvalid('/model', `must be given for ${operation}`)
  return ''
}

/** What is inspected of a real call: each text, the parts of the input joined, escapes undone. */
function* readings(
  inputs: readonly string[],
  others: readonly string[],
): Generator<void, readonly string[]> {
  const values = [...inputs, ...others]
  if (inputs.length > 1) values.push(inputs.join(''))
  const sent = values.length
  for (let index = 0; index < sent; index++) {
    const value = values[index] ?? ''
    if (value.includes('\\')) values.push(...(yield* unescapedReadings(value)))
  }
  return values
}

/** Who calls and when, where no credential and no clock say it; '' and empty where nothing is said. */
export interface DescribedCaller {
  readonly tenant: string
  readonly user: string
  readonly key: string
  readonly roles: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly unusual: readonly Unusual[]
  /** Milliseconds since 1970; null is now. */
  readonly timeMs: number | null
}

/** Reads what `readDescribed` passes over. Throws BODY_INVALID and FIELD_INVALID. */
export async function readDescribedCaller(
  body: Buffer,
  { jsonDepth }: { readonly jsonDepth: number },
): Promise<DescribedCaller> {
  const doc = await inTurns(readJson(body, jsonDepth))
  const time = texts(doc, 'time', 1)[0] ?? null
  const timeMs = time === null ? null : Date.parse(time)
  if (Number.isNaN(timeMs)) throw invalid('time', 'it is a time like 2026-11-21T14:30:00Z')
  return {
    tenant: texts(doc, 'tenant', 1)[0] ?? '',
    user: texts(doc, 'user', 1)[0] ?? '',
    key: texts(doc, 'key', 1)[0] ?? '',
    roles: texts(doc, 'roles'),
    labels: textMap(doc, 'labels'),
    unusual: unusualOf(doc),
    timeMs,
  }
}

function unusualOf(doc: JsonDocument): readonly Unusual[] {
  const given = texts(doc, 'unusual')
  if (given.every((each) => (UNUSUAL as readonly string[]).includes(each))) {
    return UNUSUAL.filter((each) => given.includes(each))
  }
  throw invalid('unusual', `it is of ${UNUSUAL.join(', ')}`)
}

function unread(doc: JsonDocument): Facts['uninspectable'] {
  return texts(doc, 'uninspectable').map((kind) => {
    if (!isKind(kind)) throw invalid('uninspectable', `it is of ${UNINSPECTABLE_KINDS.join(', ')}`)
    return { kind, pointer: '/uninspectable' }
  })
}

function isKind(name: string): name is UninspectableKind {
  return (UNINSPECTABLE_KINDS as readonly string[]).includes(name)
}

function textMap(doc: JsonDocument, name: string): Readonly<Record<string, string>> {
  const node = doc.given(0, name)
  if (node === -1) return {}
  const nodes = doc.kind(node) === KIND.OBJECT ? [...doc.children(node)] : [-1]
  if (nodes.some((each) => each === -1 || doc.kind(each) !== KIND.STRING)) {
    throw invalid(name, 'it is an object of texts')
  }
  return Object.fromEntries(nodes.map((each) => [doc.text(each - 1), doc.copy(each)]))
}

function texts(doc: JsonDocument, name: string, max = TEXTS_MAX): string[] {
  const node = doc.given(0, name)
  if (node === -1) return []
  const nodes = doc.kind(node) === KIND.ARRAY && max > 1 ? [...doc.children(node)] : [node]
  if (nodes.length > max || nodes.some((each) => doc.kind(each) !== KIND.STRING)) {
    throw invalid(name, max > 1 ? 'it is a text or a list of texts' : 'it is a text')
  }
  return nodes.map((each) => doc.copy(each))
}

function boolean(doc: JsonDocument, name: string): boolean {
  const node = doc.given(0, name)
  if (node === -1) return false
  const text = doc.bytes.toString('latin1', doc.start(node), doc.end(node))
  if (text !== 'true' && text !== 'false') throw invalid(name, 'it is true or false')
  return text === 'true'
}

function integer(doc: JsonDocument, name: string): number | null {
  const node = doc.given(0, name)
  if (node === -1) return null
  const value = doc.integer(node)
  if (value === null) throw invalid(name, 'it is a whole number')
  return value
}

function invalid(name: string, detail: string): GovernorError {
  return new GovernorError('FIELD_INVALID', { detail: `"${name}": ${detail}`, param: `/${name}` })
}
