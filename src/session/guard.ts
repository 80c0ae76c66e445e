import { answerGuard } from '../answers/policies.ts'
import { eventParts } from '../dialect/sse.ts'
import type { GovernorError } from '../errors.ts'
import type { Trail } from '../exchange.ts'
import type { Guard } from '../http/relay.ts'
import type { World } from '../world.ts'
import type { TurnGuard } from './turn.ts'

/** Looks at what a call of `trail` is answered in a session; null where no policy does. */
export function eventGuard(world: World, trail: Trail): TurnGuard | null {
  const { guard } = answerGuard(world, trail)
  return guard === null ? null : new EventGuard(guard)
}

const PREFIX = Buffer.from('data: ')
const END = Buffer.from('\n\n')
const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20

/**
 * Policies on answers know events of event streams: each message of a session is one of those. What
 * they do not change comes back as it was.
 */
class EventGuard implements TurnGuard {
  readonly #guard: Guard

  constructor(guard: Guard) {
    this.#guard = guard
  }

  get failure(): GovernorError | null {
    return this.#guard.failure
  }

  pass(event: Buffer): readonly Buffer[] {
    return messages(this.#guard.chunk(Buffer.concat([PREFIX, oneLine(event), END])))
  }

  flush(): readonly Buffer[] {
    return messages(this.#guard.flush())
  }
}

/** In strict JSON a line end stands between tokens only, where a space means the same. */
function oneLine(event: Buffer): Buffer {
  if (!event.includes(LF) && !event.includes(CR)) return event
  const line = Buffer.from(event)
  for (let at = 0; at < line.length; at++) {
    if (line[at] === LF || line[at] === CR) line[at] = SPACE
  }
  return line
}

function messages(stream: Buffer): readonly Buffer[] {
  const found: Buffer[] = []
  let from = 0
  for (let to = stream.indexOf(END); to !== -1; to = stream.indexOf(END, from)) {
    const { data } = eventParts(stream.subarray(from, to))
    if (data.length > 0) found.push(data)
    from = to + END.length
  }
  return found
}
