/**
 * OpenAI's realtime API over WebSocket (published specification of 2026-08): which events a client may
 * send, where their texts, models and tools are, and what answers say. An event that is not known, one
 * of the specification of later, is refused.
 */
import { GovernorError } from '../errors.ts'
import type { Endpoint, Facts, UninspectableKind } from '../exchange.ts'
import type { ClientEvent, SocketReader } from '../nouns/socket-events.ts'
import { isBase64, plainText, walkFlat } from './flat-object.ts'
import { inspectBody } from './inspect-body.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { markBelow } from './openai-content.ts'
import { errorObject } from './openai-errors.ts'
import { checkSpelling, fieldInvalid, readInteger, readKind } from './openai-fields.ts'
import { Marks, PAYLOAD_CHARS_MIN } from './openai-marks.ts'
import { readModels } from './openai-models.ts'
import { readServerEvent } from './openai-realtime-answers.ts'
import { inspectArray } from './openai-tools.ts'

const PRODUCES = 'response.create'
const AUDIO = 'input_audio_buffer.append'
/** Every event a client may send. */
const CLIENT_EVENTS: ReadonlySet<string> = new Set([
  'session.update',
  AUDIO,
  'input_audio_buffer.commit',
  'input_audio_buffer.clear',
  'output_audio_buffer.clear',
  'conversation.item.create',
  'conversation.item.retrieve',
  'conversation.item.truncate',
  'conversation.item.delete',
  PRODUCES,
  'response.cancel',
])

/** Members by which something is decided: another spelling of them is refused. */
const TOP_FIELDS: ReadonlySet<string> = new Set(['type', 'event_id', 'session', 'item', 'response'])
const CAPS = ['max_output_tokens', 'max_response_output_tokens']
const SETTINGS: ReadonlySet<string> = new Set([
  ...CAPS,
  'instructions',
  'input',
  'model',
  'prompt',
  'tools',
])

const CANCEL_ID = 'governor_cancel'
const EVENT_ID_CHARS_MAX = 512
/** Ids of events in which no word can be: a UUID or hexadecimal digits. */
const WORDLESS_ID = /^(?:evt_|event_)?[0-9A-Fa-f-]{1,36}$/
/** A piece of audio; everywhere else `audio` is where its format is set. */
const HEARD: ReadonlyMap<string, UninspectableKind> = new Map([['audio', 'audio']])
const NOTHING: ReadonlyMap<string, UninspectableKind> = new Map()
const NO_NODES: ReadonlySet<number> = new Set()

/** The endpoint that opens a session. */
export const REALTIME: Endpoint = {
  operation: 'realtime',
  api: 'realtime',
  body: 'none',
  query: ['model'],
  generates: false,
}

/** Endpoints of events, made once: an entry's fragments hang on what stays the same. */
const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map(
  ['event', ...CLIENT_EVENTS].map((type) => [
    type,
    { ...REALTIME, api: `realtime.${type}`, body: 'json', query: [], generates: type === PRODUCES },
  ]),
)

/** Sessions of OpenAI's realtime API. */
export const openaiRealtime: SocketReader = {
  paths: new Set(['/v1/realtime']),
  endpoint: REALTIME,
  modelParameters: ['model'],
  subprotocols: ['realtime', 'openai-beta.realtime-v1'],
  keyParameter: '',
  keySubprotocol: 'openai-insecure-api-key.',
  events: CLIENT_EVENTS,
  eventEndpoint: (event) => ENDPOINTS.get(event?.type ?? 'event')!,
  read,
  isPlainAudio,
  keepsModels: true,
  answers: () => readServerEvent,
  answersAll: false,
  sendsBinary: false,
  errorEvent: (error, { requestId, eventId }) => {
    const { message, type, code, param } = errorObject(error, requestId)
    const about = { type, code, message, param, event_id: eventId }
    return JSON.stringify({ type: 'error', event_id: `event_${requestId}`, error: about })
  },
  implied: Buffer.from('{"type":"response.create"}'),
  cancelEventId: CANCEL_ID,
  cancel: (responseId) =>
    JSON.stringify({ type: 'response.cancel', event_id: CANCEL_ID, response_id: responseId }),
}

async function read(
  bytes: Buffer,
  { jsonDepth }: { readonly jsonDepth: number },
): Promise<ClientEvent> {
  let said: Omit<ClientEvent, 'facts'> | undefined
  const facts: Facts = await inspectBody(bytes, jsonDepth, (doc) => {
    said = readHead(doc)
    return inspectEvent(doc, said.produces)
  })
  return { ...said!, facts }
}

function readHead(doc: JsonDocument): Omit<ClientEvent, 'facts'> {
  checkSpelling(doc, 0, TOP_FIELDS)
  const typeNode = doc.member(0, 'type')
  if (typeNode === -1 || doc.kind(typeNode) !== KIND.STRING) {
    throw fieldInvalid(doc, typeNode === -1 ? 0 : typeNode, 'must have a type that is a string')
  }
  const type = doc.word(typeNode)
  if (!CLIENT_EVENTS.has(type)) {
    throw new GovernorError('OPERATION_UNKNOWN', { detail: 'no event of this type', param: 'type' })
  }
  const id = readKind(doc, 0, 'event_id', 'STRING')
  const eventId = id === -1 ? null : doc.copy(id)
  if (eventId !== null && eventId.length > EVENT_ID_CHARS_MAX) {
    throw fieldInvalid(doc, id, `must be at most ${EVENT_ID_CHARS_MAX} characters`)
  }
  const isAudioOnly = type === AUDIO && hasOnlyAudio(doc)
  return {
    type: type === AUDIO ? AUDIO : doc.copy(typeNode),
    eventId,
    produces: type === PRODUCES,
    isAudioOnly,
  }
}

function hasOnlyAudio(doc: JsonDocument): boolean {
  const audio = doc.member(0, 'audio')
  if (audio === -1 || doc.kind(audio) !== KIND.STRING) return false
  for (const value of doc.children(0)) {
    const isId = doc.isKey(value - 1, 'event_id') && WORDLESS_ID.test(doc.text(value))
    if (!isId && !doc.isKey(value - 1, 'type') && !doc.isKey(value - 1, 'audio')) return false
  }
  const marks = new Marks(doc)
  marks.payload(audio, true)
  // What is no base64 is a text.
  return marks.payloads.get(audio) === 0
}

/** `{"type":"input_audio_buffer.append","audio":"…"}`, its members in any order, each once. */
function isPlainAudio(event: Buffer): boolean {
  let [isAppend, hasAudio, hasId] = [false, false, false]
  const isFlat = walkFlat(event, (name, value) => {
    if (name === 'audio' && !hasAudio) {
      hasAudio = value.end - value.start >= PAYLOAD_CHARS_MIN && isBase64(event, value)
      return hasAudio
    }
    if (name === 'type' && !isAppend) {
      isAppend = plainText(event, value, AUDIO.length) === AUDIO
      return isAppend
    }
    if (name !== 'event_id' || hasId) return false
    hasId = WORDLESS_ID.test(plainText(event, value, EVENT_ID_CHARS_MAX) ?? '')
    return hasId
  })
  return isFlat && isAppend && hasAudio
}

function inspectEvent(doc: JsonDocument, produces: boolean) {
  const marks = new Marks(doc)
  const names = new Set<string>()
  const prompts: number[] = []
  let maxOutputTokens: number | null = null
  const end = doc.next(0)
  for (let key = 1; key < end; key = doc.next(key + 1)) {
    const name = doc.text(key)
    if (name === 'session' || name === 'response') {
      maxOutputTokens = inspectSettings(doc, key, marks, names)
    } else markBelow(doc, key, marks, HEARD)
    if (name === 'session' || name === 'response' || name === 'item') prompts.push(key + 1)
  }
  return {
    models: readModels(doc),
    stream: produces,
    maxOutputTokens,
    tools: [...names],
    uninspectable: marks.uninspectable,
    payloads: marks.payloads,
    runs: marks.runs,
    prompts,
    withKeys: NO_NODES,
  }
}

/** `session` and `response`: their output cap, their tools, and what they bring in. */
function inspectSettings(
  doc: JsonDocument,
  key: number,
  marks: Marks,
  names: Set<string>,
): number | null {
  const settings = key + 1
  if (doc.kind(settings) !== KIND.OBJECT) throw fieldInvalid(doc, settings, 'must be an object')
  checkSpelling(doc, settings, SETTINGS)
  readKind(doc, settings, 'instructions', 'STRING')
  readKind(doc, settings, 'input', 'ARRAY')
  inspectArray(doc, doc.given(settings, 'tools'), marks, names)
  for (const value of doc.children(settings)) {
    const name = doc.text(value - 1)
    if (name === 'prompt' && doc.kind(value) !== KIND.NULL) marks.add('reference', value)
    else if (name === 'input') markBelow(doc, value - 1, marks, HEARD)
    else if (name !== 'tools' && name !== 'audio') markBelow(doc, value - 1, marks, NOTHING)
  }
  return readCap(doc, settings)
}

/** The larger of the two names an output cap has; null where there is none. */
function readCap(doc: JsonDocument, settings: number): number | null {
  let largest: number | null = null
  for (const name of CAPS) {
    const node = doc.given(settings, name)
    if (node === -1 || doc.isString(node, 'inf')) continue
    largest = Math.max(largest ?? 0, readInteger(doc, settings, name, 1) ?? 0)
  }
  return largest
}
