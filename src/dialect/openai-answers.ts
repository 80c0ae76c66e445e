import type { UninspectableKind } from '../exchange.ts'
/** Where the texts are in OpenAI's answers and in the events of its streams. */
import type { AnswerContent, AnswerEvent, AnswerReader } from '../nouns/answer.ts'
import {
  answerContent,
  type Belongs,
  COMPLETE,
  indexOf,
  readings,
  STRUCTURE,
  WHOLE,
} from './answers.ts'
import { cohereEvent } from './cohere-answers.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { readJson } from './json.ts'
import { runSteps } from './steps.ts'

/** Where an answer says what the model says. */
const SAID = /^\/(?:choices|output|message)(?:\/|$)/
const CHOICE = /^\/choices\/([^/]*)/
const DONE = '[DONE]'

/** Events of a response that bring the next piece of a text, and those that end it. */
const DELTA = '.delta'
const DONE_EVENT = '.done'
const ENDS_ALL = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
  'response.cancelled',
  'response.done',
  'error',
])
/** Texts that a program reads: held until they are whole. */
const PROGRAM_READS = /arguments|custom_tool_call_input/
const OPAQUE_DELTAS: ReadonlyMap<string, UninspectableKind> = new Map([
  ['response.audio', 'audio'],
  ['response.output_audio', 'audio'],
])
const LANE = 'response'
/** Endpoints whose events have types that say what they bring. */
const NAMED: ReadonlySet<string> = new Set(['responses', 'responses.get', 'audio.transcriptions'])

/** The answers of OpenAI's API and of what speaks it. */
export const openaiAnswers: AnswerReader = {
  *whole(body, { jsonDepth }): Generator<unknown, AnswerContent> {
    return yield* answerContent(yield* readJson(body, jsonDepth), wholeText)
  },
  event(data, api, { jsonDepth }) {
    if (data.toString('latin1').trim() === DONE) return END
    const doc = runSteps(readJson(data, jsonDepth))
    if (api === 'cohere.chat') return cohereEvent(doc)
    const isTyped = NAMED.has(api) || api.startsWith('realtime')
    return isTyped ? responseEvent(doc) : chatEvent(doc)
  },
  readings,
}

const END: AnswerEvent = { texts: [], joined: [], uninspectable: null, closes: [''], lanes: [] }

const wholeText: Belongs = ({ path }, key) => ({
  channel: null,
  // A transcription is all there is to its answer.
  isSaid: path === '' ? key === 'text' : !STRUCTURE.has(key) && SAID.test(path),
})

/** Everything in a choice but its structure goes on from chunk to chunk. */
const chunkText: Belongs = ({ path, logprobs }, key) => {
  const choice = CHOICE.exec(path)
  // SDKs join the name of a tool as they join its arguments.
  const isStructure = STRUCTURE.has(key) && !(key === 'name' && path.endsWith('/function'))
  if (choice === null || (logprobs === -1 && isStructure)) return COMPLETE
  if (logprobs !== -1) return { channel: `/choices/${choice[1]}/logprobs`, isSaid: false }
  const end = key === 'arguments' ? WHOLE : ''
  return { channel: `${path}/${key}${end}`, isSaid: true }
}

function chatEvent(doc: JsonDocument): AnswerEvent {
  const content = runSteps(answerContent(doc, chunkText))
  const closes: string[] = []
  const choices = doc.member(0, 'choices')
  if (choices !== -1 && doc.kind(choices) === KIND.ARRAY) {
    for (const choice of doc.children(choices)) {
      const reason = doc.given(choice, 'finish_reason')
      // Some servers send an empty one with every chunk.
      if (reason === -1 || doc.isString(reason, '')) continue
      closes.push(`/choices/${indexOf(doc, choice)}/`)
    }
  }
  const channels = content.texts.flatMap(({ channel }) => channel ?? [])
  return { ...content, closes, lanes: [...new Set([...channels, ...closes])] }
}

/** Events of a response are numbered and stay in order. */
function responseEvent(doc: JsonDocument): AnswerEvent {
  const typeNode = doc.member(0, 'type')
  const type = typeNode === -1 || doc.kind(typeNode) !== KIND.STRING ? '' : doc.word(typeNode)
  const isDelta = type.endsWith(DELTA)
  const name = isDelta ? type.slice(0, -DELTA.length) : type.replace(/\.done$/, '')
  const channel = `${name}/${places(doc)}${PROGRAM_READS.test(name) ? WHOLE : ''}`
  const content = runSteps(
    answerContent(doc, ({ path, logprobs }, key) => {
      if (!isDelta) return COMPLETE
      if (logprobs !== -1) return { channel: `${channel}/logprobs`, isSaid: false }
      return path === '' && key === 'delta' ? { channel, isSaid: true } : COMPLETE
    }),
  )
  const isEnd = ENDS_ALL.has(type)
  const closes = isEnd ? [''] : type.endsWith(DONE_EVENT) ? [channel] : []
  const opaque = isDelta ? (OPAQUE_DELTAS.get(name) ?? null) : null
  return {
    ...content,
    uninspectable: content.uninspectable ?? opaque,
    closes,
    lanes: [LANE],
  }
}

/** Which text of the response this is about. */
function places(doc: JsonDocument): string {
  return ['output_index', 'content_index', 'summary_index']
    .map((name) => {
      const node = doc.member(0, name)
      return node === -1 ? '' : String(doc.integer(node) ?? '')
    })
    .join('.')
}
