import { readDescribed } from '../dialect/described.ts'
import { GovernorError } from '../errors.ts'
import type { Decision, Endpoint, Facts, Operation } from '../exchange.ts'
import { CHECK_PATH } from '../http/check.ts'
import { checkHead } from '../http/headers.ts'
import { governorHeaders, sendJson } from '../http/respond.ts'
import { GENERATING } from '../policy/described-call.ts'
import type { Answer } from '../upstream/call.ts'
import type { World } from '../world.ts'
import type { GovernorStages, Shared } from './stages.ts'

const ENDPOINT: Endpoint = {
  operation: 'chat',
  api: 'check',
  body: 'json',
  query: [],
  generates: false,
}

/**
 * `POST /v1/check` walks the same pipeline as a call: authenticated, limited and recorded like any
 * other. Only what is inspected differs (a description instead of a body), and instead of being
 * forwarded the decision itself is the answer.
 */
export function createCheckStages(
  stages: GovernorStages,
  world: World,
  shared: Shared,
): GovernorStages {
  const { maximums, operations: own } = world.snapshot
  const reading = { jsonDepth: maximums.jsonDepth, operations: own }
  const operations = new WeakMap<Facts, Operation>()
  const provider = world.upstreams[0]!.provider
  return {
    ...stages,
    match: ({ incoming }) => {
      checkHead(incoming)
      if (incoming.method !== 'POST') {
        throw new GovernorError('METHOD_NOT_ALLOWED', { headers: { allow: 'POST' } })
      }
      return {
        endpoint: ENDPOINT,
        dialect: provider,
        mount: null,
        path: CHECK_PATH,
        pathModel: null,
      }
    },
    inspect: async (body) => {
      const { facts, operation } = await readDescribed(body.bytes, reading)
      operations.set(facts, operation)
      return facts
    },
    route: (facts, trail) => {
      const operation = operations.get(facts)!
      const generates = GENERATING.has(operation)
      trail.route = { ...trail.route!, endpoint: { ...ENDPOINT, operation, generates } }
      return stages.route(facts, trail)
    },
    decide: async (facts, trail, exchange) => {
      const decision = await stages.decide(facts, trail, exchange)
      trail.checked = decision
      return { ...decision, effect: 'allow' }
    },
    rewrite: ({ bytes }) => bytes,
    forward: async () => NOTHING_FORWARDED,
    relay: async (_answer, { outgoing }, trail) => {
      trail.status = 200
      trail.ending = 'complete'
      const headers = [...governorHeaders(trail), provider.requestIdHeader, trail.requestId]
      const value = verdict(trail.checked!, trail.requestId)
      trail.answerBytes = sendJson(outgoing, 200, value, headers)
      shared.metrics.decisions.inc({
        decision: trail.checked!.effect,
        policy: trail.checked!.policy ?? 'none',
        mode: 'check',
      })
    },
  }
}

/** The contract's answer. */
function verdict({ effect, policy, message }: Decision, requestId: string): object {
  return {
    allowed: effect === 'allow',
    decision: effect,
    policy,
    reason: message,
    request_id: requestId,
  }
}

const NOTHING_FORWARDED: Answer = {
  status: 200,
  headers: {},
  whole: Buffer.alloc(0),
  pipe() {},
  resume() {},
  abort() {},
}
