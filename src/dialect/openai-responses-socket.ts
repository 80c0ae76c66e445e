/**
 * The Responses API over WebSocket (published events of 2026-11): each `response.create` is the body of
 * `POST /v1/responses` and is the same endpoint to policies and limits; `response.steer` brings more
 * input for a response. Its answers name their response only where it begins and ends.
 */
import { GovernorError } from '../errors.ts'
import type { Endpoint, UninspectableKind, Usage } from '../exchange.ts'
import type {
  AnswerEvents,
  ClientEvent,
  ServerEvent,
  SocketReader,
} from '../nouns/socket-events.ts'
import { asObject, type Json, NO_USAGE, readName } from './answer-json.ts'
import { inspectBody } from './inspect-body.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { markBelow } from './openai-content.ts'
import { errorObject } from './openai-errors.ts'
import { checkSpelling, fieldInvalid, readKind } from './openai-fields.ts'
import { inspectTree } from './openai-inspect.ts'
import { Marks } from './openai-marks.ts'
import { inspectItems } from './openai-prompt.ts'
import { isTextDelta } from './openai-realtime-answers.ts'
import { readTokens } from './openai-usage.ts'

const EVENTS: ReadonlySet<string> = new Set(['response.create', 'response.steer'])
const PREVIOUS = 'previous_response_id'
const STEER_FIELDS: ReadonlySet<string> = new Set(['type', 'input', PREVIOUS])
const NAME_CHARS_MAX = 256
/** Conversations on one socket that are followed at once. */
const LANES_MAX = 64
const NOTHING: ReadonlyMap<string, UninspectableKind> = new Map()
const NO_NODES: ReadonlySet<number> = new Set()

/** What opens a session: it says nothing yet, and its model is that of the first event. */
const OPENING: Endpoint = {
  operation: 'chat',
  api: 'responses',
  body: 'none',
  query: ['beta'],
  generates: false,
}
const CREATE: Endpoint = { ...OPENING, body: 'json', query: [], generates: true }
const STEER: Endpoint = { ...CREATE, api: 'responses.steer', generates: false }
const UNREAD: Endpoint = { ...CREATE, generates: false }

/** Sessions of OpenAI's Responses API. */
export const openaiResponsesSocket: SocketReader = {
  paths: new Set(['/v1/responses']),
  endpoint: OPENING,
  modelParameters: [],
  first: 'event',
  keyParameter: '',
  subprotocols: [],
  keySubprotocol: '',
  events: EVENTS,
  eventEndpoint: (event) => {
    if (event === null) return UNREAD
    return event.produces ? CREATE : STEER
  },
  read,
  keepsModels: false,
  answers: answerEvents,
  answersAll: false,
  sendsBinary: false,
  errorEvent: (error, { requestId }) => {
    const { message, type, code, param } = errorObject(error, requestId)
    const about = { type, code, message, param }
    return JSON.stringify({ type: 'error', status: error.status, error: about })
  },
  implied: Buffer.from('{"type":"response.create"}'),
  cancelEventId: '',
  cancel: () => null,
}

async function read(
  bytes: Buffer,
  { jsonDepth }: { readonly jsonDepth: number },
): Promise<ClientEvent> {
  let head: Omit<ClientEvent, 'facts'> | undefined
  const facts = await inspectBody(bytes, jsonDepth, (doc) => {
    head = readHead(doc)
    if (!head.produces) return inspectSteer(doc)
    const route = { endpoint: CREATE, pathModel: null }
    // Every answer is told in events, whatever `stream` says.
    return { ...inspectTree(doc, route, jsonDepth), stream: true }
  })
  return { ...head!, facts }
}

function readHead(doc: JsonDocument): Omit<ClientEvent, 'facts'> {
  const typeNode = doc.member(0, 'type')
  if (typeNode === -1 || doc.kind(typeNode) !== KIND.STRING) {
    throw fieldInvalid(doc, typeNode === -1 ? 0 : typeNode, 'must have a type that is a string')
  }
  const type = doc.word(typeNode)
  if (!EVENTS.has(type)) {
    throw new GovernorError('OPERATION_UNKNOWN', { detail: 'no event of this type', param: 'type' })
  }
  const previous = readWord(doc, PREVIOUS)
  return {
    type,
    eventId: null,
    produces: type === 'response.create',
    isAudioOnly: false,
    lane: readWord(doc, 'stream_id') ?? '',
    ...(previous !== null && { follows: { responseId: previous, pointer: `/${PREVIOUS}` } }),
  }
}

function readWord(doc: JsonDocument, name: string): string | null {
  const node = readKind(doc, 0, name, 'STRING')
  if (node === -1) return null
  const word = doc.copy(node)
  if (word.length <= NAME_CHARS_MAX) return word
  throw fieldInvalid(doc, node, `must be at most ${NAME_CHARS_MAX} characters`)
}

function inspectSteer(doc: JsonDocument) {
  checkSpelling(doc, 0, STEER_FIELDS)
  const marks = new Marks(doc)
  const input = inspectItems(doc, marks)
  if (input === -1) throw fieldInvalid(doc, 0, 'must have input')
  const previous = doc.given(0, PREVIOUS)
  if (previous !== -1) marks.add('reference', previous)
  for (const value of doc.children(0)) {
    if (value !== input && value !== previous) markBelow(doc, value - 1, marks, NOTHING)
  }
  return {
    models: [],
    stream: false,
    maxOutputTokens: null,
    tools: [],
    uninspectable: marks.uninspectable,
    payloads: marks.payloads,
    runs: marks.runs,
    prompts: [input],
    withKeys: NO_NODES,
  }
}

const ENDS: ReadonlySet<string> = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
])
/** Whether more input was taken; nothing in it was said by a model. */
const STEERING = 'response.steer.'

/** Events between a response's first and last belong to the one that is under way in their lane. */
function answerEvents(): AnswerEvents {
  const underWay = new Map<string, string>()
  return (event) => {
    const type = readName(event['type'])
    return type === null ? null : serverEvent(event, type, underWay)
  }
}

function serverEvent(event: Json, type: string, underWay: Map<string, string>): ServerEvent {
  const lane = readName(event['stream_id']) ?? ''
  const isSteering = type.startsWith(STEERING)
  const fails = type === 'error'
  const current = underWay.get(lane) ?? null
  const begins = type === 'response.created'
  const isLast = ENDS.has(type)
  const ends = endsOne(type, current)
  const response = asObject(event['response']) ?? {}
  const id = readName(response['id']) ?? current
  if (begins) remember(underWay, lane, id ?? '')
  else if (isLast) underWay.delete(lane)
  const isSession = fails || isSteering
  return {
    type,
    lane,
    begins,
    ends,
    fails,
    answersInput: isSteering && answersSteer(event, type),
    isText: isTextDelta(type),
    responseId: isSteering ? null : id,
    eventId: null,
    isEcho: isSession,
    usage: isLast ? usageOf(response) : null,
  }
}

/** Input that was taken may still fail, and is then named: that was answered before. */
function answersSteer({ steer }: Json, type: string): boolean {
  return type === `${STEERING}accepted` || asObject(steer)?.['id'] === undefined
}

/** An error may be about a response that never began, or about another event: what goes on keeps its name. */
function endsOne(type: string, current: string | null): boolean {
  return ENDS.has(type) || (type === 'error' && current !== null)
}

function remember(underWay: Map<string, string>, lane: string, id: string): void {
  const [oldest] = underWay.keys()
  if (oldest !== undefined && underWay.size >= LANES_MAX) underWay.delete(oldest)
  underWay.set(lane, id)
}

function usageOf(response: Json): Usage {
  const usage = asObject(response['usage'])
  return {
    ...NO_USAGE,
    ...(usage !== null && readTokens(usage)),
    responseModel: readName(response['model']),
    responseId: readName(response['id']),
  }
}
