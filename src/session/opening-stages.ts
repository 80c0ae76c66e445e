import { hash } from 'node:crypto'

import type { Body, Trail } from '../exchange.ts'
import type { HttpExchange } from '../http/exchange.ts'
import type { Intake } from '../http/intake.ts'
import { acceptSocket } from '../http/socket.ts'
import type { GovernorStages } from '../stages/stages.ts'
import type { World } from '../world.ts'
import { Opening } from './opening.ts'
import type { SocketStages } from './socket-stages.ts'

/**
 * Where the first message names the model the socket is opened before anything is decided: the session
 * is about that message, and a refusal is told as an event and as the reason of the close.
 */
export function openingStages(
  stages: GovernorStages,
  {
    world,
    openings,
    intakeOf,
  }: {
    world: World
    openings: WeakMap<HttpExchange, Opening>
    intakeOf: (exchange: HttpExchange) => Intake
  },
): Pick<SocketStages, 'read' | 'inspect' | 'respond'> {
  const { maximums, timeouts } = world.snapshot
  const firsts = new WeakMap<Body, Buffer>()
  return {
    read: async (exchange, route) => {
      const { socket: reader } = route
      if (reader?.first === undefined) return stages.read(exchange, route)
      const client = await acceptSocket(exchange, {
        messageBytesMax: maximums.bodyBytes,
        headers: [
          ...idHeaders(exchange.trail!),
          'x-governor-request-id',
          exchange.trail!.requestId,
        ],
        subprotocol: '',
      })
      const opening = new Opening(client, exchange, intakeOf(exchange))
      openings.set(exchange, opening)
      const waitMs = reader.first === 'setup' ? timeouts.clientBodyMs : timeouts.idleMs
      const message = await opening.first(waitMs)
      // An event is recorded when it is its turn; opening the session sends nothing.
      const bytes = reader.first === 'setup' ? message : NOTHING
      const receivedSha256 = hash('sha256', bytes)
      const body = { bytes, decoded: false, receivedBytes: bytes.length, receivedSha256 }
      firsts.set(body, message)
      return body
    },
    inspect: async (body, route) => {
      const { socket: reader } = route
      const message = firsts.get(body)
      if (message === undefined || reader?.first === 'setup') return stages.inspect(body, route)
      const { facts } = await reader!.read(message, maximums)
      const { model, models } = facts
      return { ...(await stages.inspect(body, route)), model, models }
    },
    respond: (exchange, trail, error) => {
      const opening = openings.get(exchange)
      if (opening === undefined) return stages.respond(exchange, trail, error)
      trail.status = error.status
      opening.refuse(error, trail.route!.socket!, trail.requestId)
    },
  }
}

const NOTHING = Buffer.alloc(0)

function idHeaders({ requestId, route }: Trail): readonly string[] {
  const { requestIdHeader } = route!.dialect
  return [requestIdHeader, requestId, 'x-governor-request-id', requestId]
}
