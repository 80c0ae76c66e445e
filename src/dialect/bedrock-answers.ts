/** Where the texts are in Bedrock's answers and in the frames of its streams. */
import type {
  AnswerContent,
  AnswerEvent,
  AnswerReader,
  EventSink,
  Framing,
} from '../nouns/answer.ts'
import { answerContent, type Belongs, COMPLETE, readings, STRUCTURE, WHOLE } from './answers.ts'
import { anthropicAnswers } from './anthropic-answers.ts'
import { FrameSplitter, readFrame, withPayload } from './bedrock-frames.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { readJson } from './json.ts'
import { runSteps } from './steps.ts'

const SAID = /^\/(?:output|content|completion|generation|results|outputs|choices)(?:\/|$)/
/** What a frame says about itself; AWS' client reads no other header. */
const HEADERS: ReadonlySet<string> = new Set([
  ':content-type',
  ':event-type',
  ':exception-type',
  ':message-type',
])
const LANE = 'answer'
const PADDING = /^[A-Za-z0-9]*$/
/** Events of Anthropic's own stream, which its models bring inside of the frames. */
const MESSAGE_EVENT = /^(?:message|content_block)_/
/** Payloads are flat but for what is inside of `bytes`. */
const PAYLOAD_DEPTH_MAX = 64

/** Cuts a stream of frames. `push` throws FrameError where lengths or sums are wrong. */
class Splitter {
  readonly #frames = new FrameSplitter()
  readonly #sink: EventSink

  constructor(sink: EventSink) {
    this.#sink = sink
  }

  push(chunk: Buffer): void {
    for (const frame of this.#frames.push(chunk)) this.#sink.event(frame)
  }

  /** A frame that is not whole says nothing to any client. */
  rest(): Buffer {
    return Buffer.alloc(0)
  }
}

const FRAMES: Framing = {
  type: /^application\/vnd\.amazon\.eventstream/i,
  splitter: (sink) => new Splitter(sink),
  parts(frame) {
    const { headers, payload } = readFrame(frame)
    if ([...headers.keys()].some((name) => !HEADERS.has(name))) return null
    return { data: chunkOf(payload)?.data ?? payload, at: -1, rest: '' }
  },
  withData(frame, _parts, other) {
    const { payload } = readFrame(frame)
    const chunk = chunkOf(payload)
    if (chunk === null) return withPayload(frame, other)
    const { start, end } = chunk
    const bytes = Buffer.from(JSON.stringify(other.toString('base64')))
    const changed = [payload.subarray(0, start), bytes, payload.subarray(end)]
    return withPayload(frame, Buffer.concat(changed))
  },
}

interface Chunk {
  /** The model's own event. */
  readonly data: Buffer
  /** Where it stands in the payload, as base64 in quotes. */
  readonly start: number
  readonly end: number
}

/**
 * A chunk of an invocation: the model's event, base64 in `bytes`, beside letters that hide its length.
 * Null for the payload of any other frame; throws RangeError for what could be read in two ways.
 */
function chunkOf(payload: Buffer): Chunk | null {
  const doc = runSteps(readJson(payload, PAYLOAD_DEPTH_MAX))
  const node = doc.given(0, 'bytes')
  if (node === -1) return null
  const isPadded = [...doc.children(0)].every((value) => {
    const isText = doc.kind(value) === KIND.STRING
    return value === node
      ? isText
      : isText && doc.text(value - 1) === 'p' && PADDING.test(doc.text(value))
  })
  const data = isPadded ? Buffer.from(doc.text(node), 'base64') : null
  if (data === null || data.toString('base64') !== doc.text(node)) {
    throw new RangeError('a chunk that is not as chunks are')
  }
  return { data, start: doc.start(node), end: doc.end(node) }
}

/** The answers of Bedrock's runtime. */
export const bedrockAnswers: AnswerReader = {
  framing: FRAMES,
  *whole(body, { jsonDepth }): Generator<unknown, AnswerContent> {
    return yield* answerContent(yield* readJson(body, jsonDepth), ({ path }, key) => ({
      channel: null,
      isSaid: !STRUCTURE.has(key) && SAID.test(`${path}/${key}`),
    }))
  },
  event(data, api, maximums): AnswerEvent {
    const doc = runSteps(readJson(data, maximums.jsonDepth))
    if (api === 'converse_stream') return converseEvent(doc)
    const type = doc.given(0, 'type')
    const isMessage =
      type !== -1 && doc.kind(type) === KIND.STRING && MESSAGE_EVENT.test(doc.word(type))
    if (isMessage) return anthropicAnswers.event(data, api, maximums)
    return { ...runSteps(answerContent(doc, anyText)), closes: [], lanes: [LANE] }
  },
  readings,
}

/** Every model has a form of its own; what stands in one place goes on from chunk to chunk. */
const anyText: Belongs = ({ path }, key) =>
  STRUCTURE.has(key) ? COMPLETE : { channel: `${path}/${key}`, isSaid: true }

const PIECE = /^\/delta\/(?:text|toolUse\/input|reasoningContent\/text)$/
const SIGNED = '/delta/reasoningContent/text'
const SPOKEN = '/delta/text'
/** Texts of blocks that follow each other are one to a reader. */
const TEXT = 'text'

/** Blocks are told apart by their index, and end with an event that says nothing else. */
function converseEvent(doc: JsonDocument): AnswerEvent {
  const indexNode = doc.given(0, 'contentBlockIndex')
  const index = indexNode === -1 ? null : doc.integer(indexNode)
  const block = `/${index ?? ''}/`
  const content = runSteps(
    answerContent(doc, ({ path }, key) => {
      const place = `${path}/${key}`
      if (!PIECE.test(place)) return COMPLETE
      if (place === SPOKEN) return { channel: TEXT, isSaid: true }
      const channel = `${block}${place}${place.endsWith('/input') ? WHOLE : ''}`
      return { channel, isSaid: true, isSigned: place === SIGNED }
    }),
  )
  const begins = doc.given(0, 'start') !== -1
  const goesOn = begins || doc.given(0, 'delta') !== -1
  const isEnd = doc.given(0, 'stopReason') !== -1
  const closes = isEnd ? [''] : begins ? [TEXT] : indexNode !== -1 && !goesOn ? [block] : []
  const isText = content.texts.some(({ channel }) => channel === TEXT)
  const event = { ...content, closes, lanes: [LANE] }
  return isText && index !== null ? { ...event, block: index } : event
}
