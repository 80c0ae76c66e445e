/** What the events of OpenAI's realtime API say, as far as a session has to know. */
import type { Usage } from '../exchange.ts'
import type { ServerEvent } from '../nouns/socket-events.ts'
import { asObject, type Json, NO_USAGE, readCount, readName } from './answer-json.ts'

/** Events about the session and its limits; nothing in them was said by a model. */
const OF_SESSION = /^(?:error$|session\.|input_audio_buffer\.|output_audio_buffer\.|rate_limits\.)/
/** Items of these roles, and results of tools, are the client's own. */
const OWN_ROLES: ReadonlySet<unknown> = new Set(['user', 'system', 'developer'])

/** Reads one event of the provider; null for what has no type. Never throws. */
export function readServerEvent(event: Json): ServerEvent | null {
  const type = readName(event['type'])
  if (type === null) return null
  const response = asObject(event['response'])
  return {
    type,
    begins: type === 'response.created',
    ends: type === 'response.done',
    fails: type === 'error',
    isText: isTextDelta(type),
    responseId: readName(response?.['id']) ?? readName(event['response_id']),
    eventId: type === 'error' ? readName(asObject(event['error'])?.['event_id']) : null,
    isEcho: OF_SESSION.test(type) || isOwnItem(event),
    usage: type === 'response.done' && response !== null ? usageOf(response) : null,
  }
}

/** Whether an event of this type brings the next piece of a text, as all but those of audio do. */
export function isTextDelta(type: string): boolean {
  return type.endsWith('.delta') && !type.endsWith('audio.delta')
}

function isOwnItem({ item }: Json): boolean {
  const own = asObject(item)
  return own !== null && (OWN_ROLES.has(own['role']) || own['type'] === 'function_call_output')
}

/** `usage` of a response, whose details are spelled otherwise than in the Responses API. */
function usageOf(response: Json): Usage {
  const usage = asObject(response['usage']) ?? {}
  const input = asObject(usage['input_token_details'])
  return {
    ...NO_USAGE,
    inputTokens: readCount(usage['input_tokens']),
    outputTokens: readCount(usage['output_tokens']),
    cachedTokens: readCount(input?.['cached_tokens']),
    responseId: readName(response['id']),
  }
}
