/** Where the texts are in Gemini's answers and in the events of its streams. */
import type { AnswerContent, AnswerEvent, AnswerReader } from '../nouns/answer.ts'
import { answerContent, type Belongs, COMPLETE, indexOf, readings, STRUCTURE } from './answers.ts'
import { elementEnds } from './json-list.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { readJson } from './json.ts'
import { openaiAnswers } from './openai-answers.ts'
import { runSteps } from './steps.ts'

const CANDIDATE = /^\/candidates\/([^/]*)/
/** Parts whose texts are whole in one event: a program's, with arguments that are no JSON text. */
const AT_ONCE =
  /\/(?:functionCall|functionResponse|executableCode|groundingMetadata|citationMetadata)/
/** Ends the channel of what is thought, which no client shows as one with what is said. */
const THOUGHT = '~thought'
/** Endpoints of Gemini's own; all others are OpenAI's, which Google serves too. */
const OWN: ReadonlySet<string> = new Set(['generateContent', 'streamGenerateContent'])

/** The answers of Gemini's API: a whole one, or events, which are one JSON array without `alt=sse`. */
export const geminiAnswers: AnswerReader = {
  *whole(body, { jsonDepth }): Generator<unknown, AnswerContent> {
    return yield* answerContent(yield* readJson(body, jsonDepth), wholeText)
  },
  listed: elementEnds,
  event(data, api, maximums) {
    if (api.startsWith('live')) return liveEvent(runSteps(readJson(data, maximums.jsonDepth)))
    if (!OWN.has(api)) return openaiAnswers.event(data, api, maximums)
    return candidatesEvent(runSteps(readJson(data, maximums.jsonDepth)))
  },
  readings,
}

const LIVE_LANE = 'live'

/** Pieces of what is spoken, written and heard; a call of a tool is whole. */
function liveEvent(doc: JsonDocument): AnswerEvent {
  const content = runSteps(
    answerContent(doc, ({ path }, key) => {
      if (!path.startsWith('/serverContent/') && !path.startsWith('/toolCall/')) return COMPLETE
      if (STRUCTURE.has(key)) return COMPLETE
      const isPiece = path.startsWith('/serverContent/') && !AT_ONCE.test(path) && key === 'text'
      return { channel: isPiece ? `${path}/${key}` : null, isSaid: true }
    }),
  )
  const server = doc.given(0, 'serverContent')
  const isEnd = ENDS.some((name) => {
    const node = server === -1 ? -1 : doc.given(server, name)
    return node !== -1 && doc.kind(node) === KIND.TRUE
  })
  return { ...content, closes: isEnd ? [''] : [], lanes: [LIVE_LANE] }
}

/** What ends all that is being said. */
const ENDS = ['turnComplete', 'generationComplete', 'interrupted']

const SAID = /^\/(?:candidates|choices|output)(?:\/|$)/
const wholeText: Belongs = ({ path }, key) => ({
  channel: null,
  isSaid: !STRUCTURE.has(key) && SAID.test(path),
})

function candidatesEvent(doc: JsonDocument): AnswerEvent {
  const content = runSteps(
    answerContent(doc, ({ path }, key, part) => {
      if (!CANDIDATE.test(path) || STRUCTURE.has(key)) return COMPLETE
      if (AT_ONCE.test(path)) return { channel: null, isSaid: true }
      const isThought = key === 'text' && isTrue(doc, doc.member(part, 'thought'))
      return { channel: `${path}/${key}${isThought ? THOUGHT : ''}`, isSaid: true }
    }),
  )
  const closes: string[] = []
  const candidates = doc.member(0, 'candidates')
  if (candidates !== -1 && doc.kind(candidates) === KIND.ARRAY) {
    for (const candidate of doc.children(candidates)) {
      const reason = doc.given(candidate, 'finishReason')
      if (reason === -1 || doc.isString(reason, '')) continue
      closes.push(`/candidates/${indexOf(doc, candidate)}/`)
    }
  }
  // What is said comes after what was thought, and neither waits for more of that.
  for (const { channel } of content.texts) {
    if (channel?.endsWith('/text') === true) closes.push(`${channel}${THOUGHT}`)
  }
  const channels = content.texts.flatMap(({ channel }) => channel?.replace(THOUGHT, '') ?? [])
  return { ...content, closes, lanes: [...new Set([...channels, ...closes])] }
}

function isTrue(doc: JsonDocument, node: number): boolean {
  return node !== -1 && doc.kind(node) === KIND.TRUE
}
