/** Where the texts are in Anthropic's answers and in the events of its streams. */
import type { AnswerContent, AnswerEvent, AnswerReader } from '../nouns/answer.ts'
import { answerContent, type Belongs, COMPLETE, readings, STRUCTURE, WHOLE } from './answers.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { readJson } from './json.ts'
import { runSteps } from './steps.ts'

/** Where a message says what the model says. */
const SAID = /^\/content(?:\/|$)/
/** Thinking comes with a signature over it, which an edit would break. */
const SIGNED = new Set(['thinking'])
/** Where a block begins and how it goes on. */
const PIECES = new Set(['/content_block', '/delta'])
const ENDS_ALL = new Set(['message_stop', 'error'])
const LANE = 'message'
/** Texts of blocks that follow each other are one to a reader, whatever cites them. */
const TEXT = 'text'

/** The answers of Anthropic's API and of what speaks it. */
export const anthropicAnswers: AnswerReader = {
  *whole(body, { jsonDepth }): Generator<unknown, AnswerContent> {
    return yield* answerContent(yield* readJson(body, jsonDepth), wholeText)
  },
  event(data, _api, { jsonDepth }) {
    return messageEvent(runSteps(readJson(data, jsonDepth)))
  },
  readings,
}

const wholeText: Belongs = ({ path }, key) => ({
  channel: null,
  isSaid: !STRUCTURE.has(key) && SAID.test(path),
  isSigned: SIGNED.has(key),
})

/** Events of a message stay in order; blocks other than texts are told apart by their index. */
function messageEvent(doc: JsonDocument): AnswerEvent {
  const typeNode = doc.member(0, 'type')
  const type = typeNode === -1 || doc.kind(typeNode) !== KIND.STRING ? '' : doc.word(typeNode)
  const indexNode = doc.member(0, 'index')
  const index = indexNode === -1 ? null : doc.integer(indexNode)
  const block = `/${index ?? ''}/`
  const content = runSteps(
    answerContent(doc, ({ path }, key) => {
      if (!PIECES.has(path) || STRUCTURE.has(key)) return COMPLETE
      if (key === TEXT) return { channel: TEXT, isSaid: true }
      const channel = `${block}${key}${key === 'partial_json' ? WHOLE : ''}`
      return { channel, isSaid: true, isSigned: SIGNED.has(key) }
    }),
  )
  const event = {
    ...content,
    closes: closed(doc, type, block),
    lanes: type === 'ping' ? [] : [LANE],
  }
  const isText = content.texts.some(({ channel }) => channel === TEXT)
  return isText && index !== null ? { ...event, block: index } : event
}

function closed(doc: JsonDocument, type: string, block: string): readonly string[] {
  if (ENDS_ALL.has(type)) return ['']
  if (type === 'content_block_stop') return [block]
  if (type !== 'content_block_start') return []
  const begun = doc.given(0, 'content_block')
  const kind = begun === -1 ? -1 : doc.given(begun, 'type')
  return kind !== -1 && doc.isString(kind, TEXT) ? [] : [TEXT]
}
