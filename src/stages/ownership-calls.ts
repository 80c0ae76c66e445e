import type { Operation, Trail } from '../exchange.ts'

/** Which calls a provider keeps something of, and which list what it keeps. */

/** Operations of which every answer to a POST names what it made. */
const CREATING: ReadonlySet<Operation> = new Set([
  'assistants',
  'batches',
  'evals',
  'files.write',
  'fine_tuning',
  'stored.write',
])
/** Of operations that mostly keep nothing, the endpoints that keep their answer unless told not to. */
const KEEPING: ReadonlySet<string> = new Set([
  'responses',
  'responses.compact',
  'videos.create',
  'videos.edits',
  'videos.extensions',
  'videos.remix',
])
/** … and those that keep it, or what was spoken in it, when told to. */
const KEEPING_IF_ASKED: ReadonlySet<string> = new Set(['chat.completions'])
/** Endpoints of which only what their tools made is kept: containers, and files in them. */
const RUNNING: ReadonlySet<string> = new Set(['messages'])
/** A tool of the provider's own, `code_execution_20250825`; only some of them make anything. */
const HOSTED = /_2\d{7}$/
/** Answers of a session that can be named again. */
const IN_SESSIONS: ReadonlySet<string> = new Set(['realtime.response.create'])

/** Whether an answer to a call may name something new. */
export function createsStored(trail: Trail): boolean {
  const { route, body } = trail
  if (body === null) return false
  const { api, operation, body: takes } = route!.endpoint
  if (KEEPING.has(api) || KEEPING_IF_ASKED.has(api)) return keeps(trail)
  if (RUNNING.has(api)) return trail.going.tools.some((name) => HOSTED.test(name))
  if (IN_SESSIONS.has(api)) return true
  return CREATING.has(operation) && (takes !== 'none' || body.bytes.length > 0)
}

function keeps({ route, owned }: Trail): boolean {
  const stores = owned?.references.stores ?? null
  if (!KEEPING.has(route!.endpoint.api)) return stores === true || owned?.references.speaks === true
  // What a session answers can be gone on from in it, kept or not.
  return stores !== false || route!.socket !== undefined
}

/** Whether an answer to this call is not kept itself, but what was made on the way to it. */
export function keepsOnlyMade({ route, owned }: Trail): boolean {
  const { api } = route!.endpoint
  return RUNNING.has(api) || (KEEPING_IF_ASKED.has(api) && owned?.references.stores !== true)
}

/** Whether a route lists what is kept, of everybody. */
export function listsStored({ route }: Trail): boolean {
  const { endpoint, ids, pathModel, path } = route!
  if (ids !== undefined || pathModel !== null || endpoint.body !== 'none') return false
  const { operation } = endpoint
  return (operation === 'stored.read' || operation === 'files.read') && path !== ''
}
