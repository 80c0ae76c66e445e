/** Where the texts are in the events of Cohere's chat (its API v2, "Streaming" of its documentation). */
import type { AnswerEvent } from '../nouns/answer.ts'
import { answerContent, type Belongs, COMPLETE, STRUCTURE, WHOLE } from './answers.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { runSteps } from './steps.ts'

/** Events that say what is whole; all others bring pieces. */
const WHOLES: ReadonlySet<string> = new Set(['message-start', 'citation-start', 'message-end'])
/** Events after which nothing is added to what has their index. */
const ENDS: ReadonlyMap<string, string> = new Map([
  ['content-end', 'content'],
  ['tool-call-end', 'tool'],
])
const LANE = 'message'

/** The texts of one event. A piece goes on in the piece of the same kind and index that follows. */
export function cohereEvent(doc: JsonDocument): AnswerEvent {
  const type = typeOf(doc)
  const index = indexText(doc)
  const content = runSteps(answerContent(doc, belongsIn(type, index)))
  const ended = ENDS.get(type)
  const closes = type === 'message-end' ? [''] : ended === undefined ? [] : [`${ended}/${index}/`]
  return { ...content, closes, lanes: [LANE] }
}

function belongsIn(type: string, index: string): Belongs {
  if (WHOLES.has(type)) return () => COMPLETE
  const root = `${type.startsWith('tool-call') ? 'tool' : 'content'}/${index}/`
  return ({ path, logprobs }, key) => {
    // The tokens spell the piece beside them once more.
    if (logprobs !== -1) return { channel: `${root}logprobs`, isSaid: false }
    if (path === '' || STRUCTURE.has(key)) return COMPLETE
    return { channel: `${root}${key}${key === 'arguments' ? WHOLE : ''}`, isSaid: true }
  }
}

function typeOf(doc: JsonDocument): string {
  const node = doc.member(0, 'type')
  return node === -1 || doc.kind(node) !== KIND.STRING ? '' : doc.word(node)
}

/** Which block or call of a tool an event is about; '' where it does not say. */
function indexText(doc: JsonDocument): string {
  const node = doc.member(0, 'index')
  return node === -1 ? '' : String(doc.integer(node) ?? '')
}
