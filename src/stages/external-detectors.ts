import type { Snapshot } from '../config/snapshot.ts'
import type { Facts } from '../exchange.ts'
import type { HttpExchange } from '../http/exchange.ts'
import type { Metrics } from '../metrics.ts'
import {
  type AskExternal,
  ExternalDetector,
  ServiceFault,
  textsToAsk,
} from '../policy/external/external-detector.ts'
import { ServicePool } from '../upstream/service-pool.ts'

/** A detector that is a service, with the connections to it. */
export interface RunningDetector {
  readonly detector: ExternalDetector
  readonly pool: ServicePool
}

/** The services of a snapshot, by id. Those that are configured as before stay, verdicts included. */
export function openDetectors(
  { detectors }: Snapshot,
  former: ReadonlyMap<string, RunningDetector>,
  { cacheRequests, detectorRequests }: Pick<Metrics, 'cacheRequests' | 'detectorRequests'>,
): ReadonlyMap<string, RunningDetector> {
  const running = new Map<string, RunningDetector>()
  for (const config of detectors) {
    if ('matches' in config) continue
    const known = former.get(config.id)
    if (known !== undefined && JSON.stringify(known.detector.config) === JSON.stringify(config)) {
      running.set(config.id, known)
      continue
    }
    const pool = new ServicePool({
      ...config.external,
      fault: (failure, message, cause) => new ServiceFault(failure, message, cause),
    })
    const detector = new ExternalDetector(config, {
      post: (path, json, signal) => pool.post(path, json, signal),
      onAsked: (id, result) => detectorRequests.inc({ detector: id, result }),
      onCache: (result) => cacheRequests.inc({ cache: 'detector_verdicts', result }),
    })
    running.set(config.id, { detector, pool })
  }
  return running
}

/**
 * Asks for one call. A client that leaves, or a call that is cut, gives the questions up: the promise
 * rejects with why.
 */
export function askFor(
  running: ReadonlyMap<string, RunningDetector>,
  facts: Facts,
  exchange: Pick<HttpExchange, 'whilePresent'>,
): AskExternal {
  return (ids) =>
    exchange.whilePresent(async (signal) => {
      const texts = textsToAsk(facts)
      const answers = await Promise.all(
        ids.map(async (id) => {
          const found = running.get(id)
          if (found === undefined) throw new Error(`No detector ${id} in this snapshot`)
          return [id, await found.detector.ask(texts, signal)] as const
        }),
      )
      return new Map(answers)
    })
}
