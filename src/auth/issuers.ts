import { monotonicMs } from '../clock.ts'
import type { IssuerConfig } from '../config/snapshot.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { IssuerKeys } from './issuer-keys.ts'
import { Tokens } from './jwt.ts'

interface IssuersParts {
  /** Of the former snapshot: keys that are fetched alike stay known. */
  readonly former: Tokens | null
  readonly metrics: Pick<Metrics, 'cacheRequests' | 'issuerFetches'>
  readonly log: Pick<Log, 'info' | 'error'>
}

/** The issuers of a snapshot; null where there are none. Their first fetch begins at once. */
export function openIssuers(
  issuers: readonly IssuerConfig[],
  { former, metrics, log }: IssuersParts,
): Tokens | null {
  if (issuers.length === 0) return null
  const known = new Map(former?.keys.map((keys) => [JSON.stringify(keys.config), keys]))
  const opened = issuers.map((config) => {
    const { name } = config
    let isFailing = false
    const onFetched = (fault: string | null) => {
      metrics.issuerFetches.inc({ issuer: name, result: fault === null ? 'ok' : 'failed' })
      if (fault === null && isFailing)
        log.info({ issuer: name }, 'Keys of the issuer fetched again')
      if (fault !== null && !isFailing) {
        log.error({ issuer: name, fault }, 'Cannot fetch the keys of the issuer')
      }
      isFailing = fault !== null
    }
    const same = known.get(JSON.stringify(config.keys))
    const keys = same ?? new IssuerKeys(config.keys, { onFetched, now: monotonicMs })
    keys.tick()
    return { config, keys }
  })
  return new Tokens(opened, (cache, result) => metrics.cacheRequests.inc({ cache, result }))
}
