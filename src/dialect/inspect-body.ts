/** From the bytes of a body to facts, for every dialect: read, look, collect the texts. */
import { GovernorError } from '../errors.ts'
import type { Facts, Route } from '../exchange.ts'
import { inTurns } from '../turns.ts'
import { type JsonDocument, readJson, readJsonNow } from './json.ts'
import { checkModel } from './openai-fields.ts'
import { STRETCH_BYTES } from './steps.ts'
import { type Collected, collectTexts, collectTextsNow, type TextMarks } from './texts.ts'

/** What a dialect finds in the tree before the texts are collected. */
export interface Inspected extends Omit<TextMarks, 'jsonDepth'> {
  readonly models: readonly string[]
  readonly stream: boolean
  readonly maxOutputTokens: number | null
  readonly tools: readonly string[]
  readonly uninspectable: Facts['uninspectable']
}

/**
 * Facts of one body by what `look` finds in it, at once up to 64 KiB and in turns beyond. Throws
 * BODY_INVALID and what `look` throws.
 */
export async function inspectBody(
  body: Buffer,
  jsonDepth: number,
  look: (doc: JsonDocument) => Inspected,
): Promise<Facts> {
  if (body.length > STRETCH_BYTES) return inTurns(inspectSteps(body, jsonDepth, look))
  const doc = readJsonNow(body, jsonDepth)
  const found = { ...look(doc), jsonDepth }
  return factsOf(found, collectTextsNow(doc, found))
}

function* inspectSteps(
  body: Buffer,
  jsonDepth: number,
  look: (doc: JsonDocument) => Inspected,
): Generator<void, Facts> {
  const doc = yield* readJson(body, jsonDepth)
  const found = { ...look(doc), jsonDepth }
  yield
  return factsOf(found, yield* collectTexts(doc, found))
}

function factsOf(found: Inspected, { texts, inputChars }: Collected): Facts {
  const { models, stream, maxOutputTokens, tools, uninspectable } = found
  return {
    model: models[0] ?? '',
    models,
    stream,
    maxOutputTokens,
    tools,
    texts,
    inputChars,
    uninspectable,
    askUsage: null,
  }
}

const NO_TEXTS = { values: [], pointer: (index: number) => `no text ${index}` }

/** Facts of a call without a body. Throws BODY_INVALID where there is one, MODEL_INVALID. */
export function inspectPath(route: Route, body: Buffer): Facts {
  if (body.length > 0) {
    throw new GovernorError('BODY_INVALID', { detail: 'this path takes no body' })
  }
  const model = route.pathModel === null ? '' : checkModel(route.pathModel, 'the model in the path')
  return {
    model,
    models: model === '' ? [] : [model],
    stream: false,
    maxOutputTokens: null,
    tools: [],
    texts: NO_TEXTS,
    inputChars: 0,
    uninspectable: [],
    askUsage: null,
  }
}

/** The same facts, with the model that the path names before all others. Throws MODEL_INVALID. */
export function withPathModel(facts: Facts, pathModel: string | null): Facts {
  if (pathModel === null) return facts
  const model = checkModel(pathModel, 'the model in the path')
  return { ...facts, model, models: [...new Set([model, ...facts.models])] }
}
