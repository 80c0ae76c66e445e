/**
 * Files of JSON lines that are uploaded for a batch, a fine-tuning job or an evaluation: what is in
 * them reaches a model later, so each line is looked at as a request of its own is.
 */
import { ERRORS, GovernorError } from '../errors.ts'
import type { Endpoint, Facts, UninspectableKind } from '../exchange.ts'
import type { Piece } from './form-texts.ts'
import { KIND } from './json-tape.ts'
import { type JsonDocument, readJson } from './json.ts'
import { inspectSteps } from './openai-inspect.ts'
import { MARKS_PER_KIND_MAX } from './openai-marks.ts'
import { MODELS_MAX } from './openai-models.ts'
import { OPENAI_TABLE } from './openai-routes.ts'
import { STRETCH_BYTES } from './steps.ts'

/** The most lines of one file, as the providers have it. */
export const LINES_MAX = 50_000

const LF = 0x0a
const CR = 0x0d
/** Work that a line is beside its bytes. */
const LINE_WORK = 512
/** What a batch may ask for. */
const BATCHED: ReadonlySet<string> = new Set([
  'chat.completions',
  'completions',
  'embeddings',
  'images.edits',
  'images.generations',
  'moderations',
  'responses',
])
const LINE_FIELDS: ReadonlySet<string> = new Set(['body', 'custom_id', 'method', 'url'])
const LINE: Endpoint = {
  operation: 'files.write',
  api: 'files.line',
  body: 'json',
  query: [],
  generates: false,
}

/** What was found in all lines together. */
export interface Lines {
  readonly pieces: Piece[]
  readonly models: Set<string>
  readonly tools: Set<string>
  /** Only of what stands in lines that are requests. */
  maxOutputTokens: number | null
  inputChars: number
  readonly uninspectable: { kind: UninspectableKind; pointer: string }[]
}

interface File {
  /** The whole body; the file is its bytes from `start` up to `end`. */
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** Goes before the number of a line, to say where something is. */
  readonly at: string
  readonly jsonDepth: number
}

/**
 * Looks at every line; `isBatch` where each is a request in an envelope (`custom_id`, `method`, `url`,
 * `body`). Lines end with LF or CRLF, the last may end without. Throws BODY_INVALID, FIELD_INVALID and
 * MODEL_INVALID that name the line.
 */
export function* inspectLines(file: File, isBatch: boolean): Generator<void, Lines> {
  const { bytes, start, end, at } = file
  const lines: Lines = {
    pieces: [],
    models: new Set(),
    tools: new Set(),
    maxOutputTokens: null,
    inputChars: 0,
    uninspectable: [],
  }
  let count = 0
  let worked = 0
  for (let from = start; from < end;) {
    const found = bytes.indexOf(LF, from)
    const to = found === -1 || found > end ? end : found
    count++
    if (count > LINES_MAX) throw invalid(`more than ${LINES_MAX} lines`)
    try {
      const last = to > from && bytes[to - 1] === CR ? to - 1 : to
      if (last === from) throw invalid('it is empty')
      const line = { start: from, end: last, at: `${at}/${count}` }
      yield* inspectLine({ ...file, ...line }, isBatch, lines)
    } catch (error) {
      throw inLine(error, count)
    }
    worked += to - from + LINE_WORK
    from = to + 1
    if (worked < STRETCH_BYTES) continue
    worked = 0
    yield
  }
  if (count === 0) throw invalid('the file is empty')
  return lines
}

function* inspectLine(line: File, isBatch: boolean, lines: Lines): Generator<void, void> {
  const { bytes, start, end, at, jsonDepth } = line
  if (!isBatch) {
    const facts = yield* inspectSteps(
      { endpoint: LINE, pathModel: null },
      bytes.subarray(start, end),
      jsonDepth,
    )
    add(lines, facts, { start, at })
    return
  }
  const request = readRequest(yield* readJson(bytes.subarray(start, end), jsonDepth))
  const from = start + request.start
  const facts = yield* inspectSteps(
    { endpoint: request.endpoint, pathModel: null },
    bytes.subarray(from, start + request.end),
    jsonDepth,
  )
  if (facts.stream) throw new GovernorError('FIELD_INVALID', { detail: 'a batch has no streams' })
  lines.pieces.push({ kind: 'plain', text: request.id, start: -1, at: `${at}/custom_id` })
  add(lines, facts, { start: from, at: `${at}/body` })
}

interface BatchRequest {
  readonly id: string
  readonly endpoint: Endpoint
  /** Bytes of its body in the line. */
  readonly start: number
  readonly end: number
}

/** The envelope of one request of a batch; anything in it that is not known is refused. */
function readRequest(doc: JsonDocument): BatchRequest {
  const end = doc.next(0)
  for (let key = 1; key < end; key = doc.next(key + 1)) {
    if (!LINE_FIELDS.has(doc.word(key))) {
      throw fieldInvalid(`only ${[...LINE_FIELDS].join(', ')} may stand in a line`)
    }
  }
  if (readText(doc, 'method') !== 'POST') throw fieldInvalid('/method must be POST')
  const found = OPENAI_TABLE.find('POST', readText(doc, 'url'))
  if (found?.kind !== 'endpoint' || !BATCHED.has(found.endpoint.api)) {
    throw fieldInvalid('/url must be an endpoint that batches know, like /v1/chat/completions')
  }
  const body = doc.member(0, 'body')
  if (body === -1 || doc.kind(body) !== KIND.OBJECT) throw fieldInvalid('/body must be an object')
  const id = readText(doc, 'custom_id')
  return { id, endpoint: found.endpoint, start: doc.start(body), end: doc.end(body) }
}

/** A string member; '' when absent. */
function readText(doc: JsonDocument, name: string): string {
  const node = doc.member(0, name)
  if (node === -1) return ''
  if (doc.kind(node) !== KIND.STRING) throw fieldInvalid(`/${name} must be a string`)
  return doc.text(node)
}

function add(lines: Lines, facts: Facts, { start, at }: { start: number; at: string }): void {
  lines.pieces.push({ kind: 'json', texts: facts.texts, start, at })
  lines.inputChars += facts.inputChars
  for (const model of facts.models) lines.models.add(model)
  if (lines.models.size > MODELS_MAX) {
    throw new GovernorError('MODEL_INVALID', {
      detail: `it names one model too many; a file names at most ${MODELS_MAX}`,
    })
  }
  for (const tool of facts.tools) lines.tools.add(tool)
  const cap = facts.maxOutputTokens
  if (cap !== null && cap > (lines.maxOutputTokens ?? -1)) lines.maxOutputTokens = cap
  for (const { kind, pointer } of facts.uninspectable) {
    const same = lines.uninspectable.filter((each) => each.kind === kind).length
    if (same < MARKS_PER_KIND_MAX) lines.uninspectable.push({ kind, pointer: `${at}${pointer}` })
  }
}

/** The same error, which says in which line. */
function inLine(error: unknown, line: number): unknown {
  if (!(error instanceof GovernorError)) return error
  const own = `${ERRORS[error.code].message}: `
  const what = error.message.startsWith(own) ? error.message.slice(own.length) : error.message
  const { param } = error
  return new GovernorError(error.code, {
    detail: `line ${line}: ${what}`,
    ...(param !== undefined && { param }),
    cause: error,
  })
}

function fieldInvalid(detail: string): GovernorError {
  return new GovernorError('FIELD_INVALID', { detail })
}

function invalid(detail: string): GovernorError {
  return new GovernorError('BODY_INVALID', { detail })
}
