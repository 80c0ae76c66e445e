/** Calls to endpoints that are in no table, which `defaults.unknown_operation: allow` lets pass. */
import type { Facts, Meter, Reading, Route, Texts, Usage } from '../exchange.ts'
import { type Inspected, inspectBody, inspectPath } from './inspect-body.ts'
import type { JsonDocument } from './json.ts'
import { walkModels } from './model-walk.ts'
import { readBoolean } from './openai-fields.ts'

/** Facts of a call by the table it is in, or of one that is in none. Throws what both throw. */
export function inspectCall(route: Route, body: Buffer, reading: Reading): Promise<Facts> {
  if (route.endpoint.operation === 'other') return inspectUnknown(route, body, reading)
  return route.dialect.inspect(route, body, reading)
}

/**
 * Facts of a call nobody knows the meaning of: every key and value of its body is prompt, and so is its
 * path. Throws BODY_INVALID, FIELD_INVALID, MODEL_INVALID.
 */
async function inspectUnknown(
  route: Route,
  body: Buffer,
  { jsonDepth }: Pick<Reading, 'jsonDepth'>,
): Promise<Facts> {
  const facts =
    route.endpoint.body === 'none'
      ? inspectPath(route, body)
      : await inspectBody(body, jsonDepth, look)
  return { ...facts, texts: withPath(facts.texts, route.path) }
}

function look(doc: JsonDocument): Inspected {
  return {
    models: walkModels(doc),
    stream: readBoolean(doc, 0, 'stream'),
    maxOutputTokens: null,
    tools: [],
    uninspectable: [],
    payloads: new Map(),
    runs: [],
    prompts: [0],
    withKeys: new Set([0]),
  }
}

/** The texts of a body and, behind them, the path, which is never edited. */
function withPath(texts: Texts, path: string): Texts {
  const { values } = texts
  const isBody = (index: number) => index < values.length
  return {
    values: [...values, path],
    pointer: (index) => (isBody(index) ? texts.pointer(index) : '#path'),
    sent: (range) => (isBody(range.index) ? (texts.sent?.(range) ?? null) : null),
    ...(texts.edit !== undefined && { edit: (edits) => texts.edit!(edits) }),
  }
}

const EMPTY = Buffer.alloc(0)

/** Usage as the dialect reads it from whole answers; how a stream nobody knows ends cannot be told. */
export class UnknownMeter implements Meter {
  readonly complete = true
  readonly #meter: Meter

  constructor(meter: Meter) {
    this.#meter = meter
  }

  get usage(): Usage {
    return this.#meter.usage
  }

  whole(body: Buffer): void {
    this.#meter.whole(body)
  }

  chunk(bytes: Buffer): Buffer {
    return bytes
  }

  flush(): Buffer {
    return EMPTY
  }
}
