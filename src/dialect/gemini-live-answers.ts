/** What the messages of Gemini's live API say, as far as a session has to know. */
import type { Usage } from '../exchange.ts'
import type { AnswerEvents, ServerEvent } from '../nouns/socket-events.ts'
import { asObject, type Json, NO_USAGE, readCount } from './answer-json.ts'

/** Members of a message that are about the session, and of which none was said by a model. */
const OF_SESSION: ReadonlySet<string> = new Set([
  'setupComplete',
  'goAway',
  'sessionResumptionUpdate',
  'toolCallCancellation',
  'usageMetadata',
  'voiceActivity',
  'voiceActivityDetectionSignal',
])
/** Members of `serverContent` that are what a model produces. */
const OUTPUT = ['modelTurn', 'outputTranscription', 'groundingMetadata', 'urlContextMetadata']
/** All of it but what is said of something that was spoken, which may come after its turn is complete. */
const SPOKEN = OUTPUT.filter((name) => name !== 'outputTranscription')

/**
 * A reader of one session. Nothing here has an id: a response begins with the first thing a model
 * produces and ends when its turn is complete; what it took is the sum of what is told until then, and what
 * is told after it is the next one's. A transcript may go on after the turn: it begins nothing.
 */
export function liveAnswers(): AnswerEvents {
  const session = new LiveSession()
  return (message) => session.event(message)
}

class LiveSession {
  #responses = 0
  #current: string | null = null
  #usage: Usage = NO_USAGE

  event(message: Json): ServerEvent {
    const content = asObject(message['serverContent'])
    const transcript = asObject(content?.['outputTranscription'])
    const ends = content?.['turnComplete'] === true
    const isNew = this.#current === null && isOutput(message, content)
    const isLate = isNew && !ends && this.#isLate(message, content)
    const begins = isNew && !isLate
    if (begins) this.#current = `live_${++this.#responses}`
    const responseId = this.#current
    this.#add(asObject(message['usageMetadata']))
    const usage = ends ? this.#usage : null
    if (ends) {
      this.#current = null
      this.#usage = NO_USAGE
    }
    return {
      type: Object.keys(message)[0] ?? '',
      begins,
      ends,
      fails: false,
      isText: content !== null,
      responseId,
      eventId: null,
      isEcho: Object.keys(message).every((name) => OF_SESSION.has(name)),
      usage,
      isTranscript: transcript !== null,
      ...(isLate && { trails: trailOf(transcript) }),
    }
  }

  #isLate(message: Json, content: Json | null): boolean {
    return this.#responses > 0 && !isOutput(message, content, SPOKEN)
  }

  #add(usage: Json | null): void {
    if (usage === null) return
    const { inputTokens, outputTokens, cachedTokens, reasoningTokens } = this.#usage
    const count = (name: string) => readCount(usage[name])
    this.#usage = {
      ...this.#usage,
      inputTokens: sum(inputTokens, count('promptTokenCount'), count('toolUsePromptTokenCount')),
      outputTokens: sum(outputTokens, count('responseTokenCount'), count('thoughtsTokenCount')),
      cachedTokens: sum(cachedTokens, count('cachedContentTokenCount')),
      reasoningTokens: sum(reasoningTokens, count('thoughtsTokenCount')),
    }
  }
}

function trailOf(transcript: Json | null): 'on' | 'last' {
  return transcript?.['finished'] === true ? 'last' : 'on'
}

function isOutput(message: Json, content: Json | null, names = OUTPUT): boolean {
  if (asObject(message['toolCall']) !== null) return true
  return content !== null && names.some((name) => asObject(content[name]) !== null)
}

/** Null where none of them was told. */
function sum(...counts: readonly (number | null)[]): number | null {
  const told = counts.filter((count) => count !== null)
  return told.length === 0 ? null : told.reduce((total, count) => total + count, 0)
}
