import type { ShipConfig } from '../config/snapshot.ts'
import type { Sink } from './ship-types.ts'
import { HttpSink } from './sink-http.ts'
import { PostgresSink } from './sink-postgres.ts'

/** Opens what the configuration names; `path` is the log's. Connects on first use. */
export function openSink(config: ShipConfig, path: string): Sink {
  return config.kind === 'postgres' ? new PostgresSink(config.url) : new HttpSink(config, path)
}
