/**
 * Gemini's live API (BidiGenerateContent over WebSocket; v1, v1beta and v1alpha of 2026-11): the first
 * message sets the session up and names its model, every other is one of `clientContent`,
 * `realtimeInput` and `toolResponse`. Names are read in camelCase and snake_case, as Google does.
 */
import { GovernorError } from '../errors.ts'
import type { Endpoint, Facts } from '../exchange.ts'
import type { ClientEvent, SocketReader } from '../nouns/socket-events.ts'
import { errorObject } from './gemini-errors.ts'
import { decisive, Look, type MoreNames, plain } from './gemini-inspect.ts'
import { liveAnswers } from './gemini-live-answers.ts'
import { type Inspected, inspectBody } from './inspect-body.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { fieldInvalid, modelInvalid, readBoolean, readModel } from './openai-fields.ts'

const PATHS: ReadonlySet<string> = new Set(
  ['v1', 'v1beta', 'v1alpha'].map(
    (version) =>
      `/ws/google.ai.generativelanguage.${version}.GenerativeService.BidiGenerateContent`,
  ),
)
const MESSAGES = ['clientContent', 'realtimeInput', 'toolResponse'] as const
type MessageName = (typeof MESSAGES)[number]

/** What opens a session; its body is the first message. */
const LIVE: Endpoint = {
  operation: 'realtime',
  api: 'live',
  body: 'none',
  query: [],
  generates: false,
}
const UNREAD: Endpoint = { ...LIVE, api: 'live.event', body: 'json' }
const PRODUCING: Endpoint = { ...UNREAD, api: 'live.clientContent', generates: true }
const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map(
  MESSAGES.map((name) => [name, { ...UNREAD, api: `live.${name}` }]),
)

const NAMES = decisive([
  'setup',
  ...MESSAGES,
  'turns',
  'turnComplete',
  'functionResponses',
  'audio',
])
const SETUP: MoreNames = {
  decisive: NAMES,
  opaque: new Map([
    // What was said in the session before is not here any more.
    ['handle', 'reference'],
    ['replicatedvoiceconfig', 'audio'],
    ['avatarconfig', 'image'],
  ]),
}
const EVENT: MoreNames = {
  decisive: NAMES,
  opaque: new Map([
    ['audio', 'audio'],
    ['video', null],
    ['mediachunks', null],
  ]),
}
const AUDIO_TYPE = /^audio\/[a-z0-9.+-]{1,32}(?:; ?rate=\d{1,6})?$/i

/** Sessions of Gemini's live API. */
export const geminiLive: SocketReader = {
  paths: PATHS,
  endpoint: LIVE,
  modelParameters: [],
  first: 'setup',
  keyParameter: 'key',
  subprotocols: [],
  keySubprotocol: '',
  events: new Set(MESSAGES),
  eventEndpoint: (event) => {
    if (event?.produces === true) return PRODUCING
    return ENDPOINTS.get(event?.type ?? '') ?? UNREAD
  },
  read,
  keepsModels: true,
  answers: liveAnswers,
  answersAll: true,
  sendsBinary: true,
  errorEvent: (error, { requestId, endsTurn }) => {
    const ending = endsTurn ? { serverContent: { interrupted: true, turnComplete: true } } : {}
    return JSON.stringify({ error: errorObject(error, requestId), ...ending })
  },
  implied: Buffer.from('{"clientContent":{"turnComplete":true}}'),
  cancelEventId: '',
  cancel: () => null,
}

/**
 * Facts of the message that sets a session up. Throws OPERATION_UNKNOWN for any other, BODY_INVALID,
 * FIELD_INVALID, MODEL_INVALID.
 */
export function inspectSetup(
  message: Buffer,
  { jsonDepth }: { readonly jsonDepth: number },
): Promise<Facts> {
  return inspectBody(message, jsonDepth, (doc) => {
    const { name, value } = onlyMember(doc)
    if (name !== 'setup') {
      throw new GovernorError('OPERATION_UNKNOWN', { detail: 'a session begins with its setup' })
    }
    const node = doc.given(value, 'model')
    if (node === -1) throw modelInvalid('/setup/model', 'must be given')
    const model = readModel(doc, node)
    const found = new Look(doc, SETUP).below(value)
    return { ...found, models: [...new Set([model, ...found.models])] }
  })
}

async function read(
  message: Buffer,
  { jsonDepth }: { readonly jsonDepth: number },
): Promise<ClientEvent> {
  let head: Pick<ClientEvent, 'type' | 'produces' | 'isAudioOnly'> | undefined
  const facts = await inspectBody(message, jsonDepth, (doc): Inspected => {
    const { name, value } = onlyMember(doc)
    const type = MESSAGES.find((each) => each === name)
    if (type === undefined) {
      const detail = name === 'setup' ? 'a session is set up once' : 'no message of this name'
      throw new GovernorError('OPERATION_UNKNOWN', { detail })
    }
    head = headOf(doc, type, value)
    const found = new Look(doc, EVENT).below(value)
    return { ...found, stream: head.produces, prompts: [value] }
  })
  return { ...head!, eventId: null, facts }
}

/** Of these members a message has exactly one (`BidiGenerateContentClientMessage`). */
function onlyMember(doc: JsonDocument): { name: string; value: number } {
  const [value, other] = doc.children(0)
  if (value === undefined || other !== undefined) {
    throw fieldInvalid(doc, 0, `must have exactly one of setup, ${MESSAGES.join(', ')}`)
  }
  if (doc.kind(value) !== KIND.OBJECT) throw fieldInvalid(doc, value, 'must be an object')
  const written = plain(doc.word(value - 1))
  return { name: NAMES.get(written) ?? '', value }
}

function headOf(doc: JsonDocument, type: MessageName, value: number) {
  const camel = readBoolean(doc, value, 'turnComplete')
  const snake = readBoolean(doc, value, 'turn_complete')
  return {
    type,
    produces: type === 'clientContent' && (camel || snake),
    isAudioOnly: type === 'realtimeInput' && hasOnlyAudio(doc, value),
  }
}

/** `{"audio":{"data","mimeType"}}` and nothing that is a word. */
function hasOnlyAudio(doc: JsonDocument, input: number): boolean {
  const [audio, more] = doc.children(input)
  if (audio === undefined || more !== undefined || !doc.isKey(audio - 1, 'audio')) return false
  if (doc.kind(audio) !== KIND.OBJECT) return false
  return [...doc.children(audio)].every((value) => {
    if (doc.kind(value) !== KIND.STRING) return false
    if (doc.isKey(value - 1, 'data')) return isBase64(doc, value)
    const isType = doc.isKey(value - 1, 'mimeType') || doc.isKey(value - 1, 'mime_type')
    return isType && AUDIO_TYPE.test(doc.word(value))
  })
}

function isBase64(doc: JsonDocument, node: number): boolean {
  return /^[A-Za-z0-9+/_-]*={0,2}$/.test(doc.text(node))
}
