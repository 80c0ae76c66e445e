import type { ShipConfig } from '../config/snapshot.ts'
import type { PoolCells } from './pool-cells.ts'
import type { Sink } from './ship-types.ts'
import { HttpSink } from './sink-http.ts'
import { PostgresSink } from './sink-postgres.ts'

/**
 * Opens what the configuration names; `path` is the log's, and `cells` are told of connections to
 * PostgreSQL. Connects on first use.
 */
export function openSink(config: ShipConfig, path: string, cells?: PoolCells): Sink {
  return config.kind === 'postgres'
    ? new PostgresSink(config.url, undefined, cells)
    : new HttpSink(config, path)
}
