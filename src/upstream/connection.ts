import type { buildConnector, Client as UndiciClient, Dispatcher } from 'undici'

import { Client } from '../lean-http.ts'
import { InterimHeads, watchHeads } from './interim-heads.ts'

/** What a pool makes its connections of: it always has its way to connect by then. */
interface Options extends UndiciClient.Options {
  readonly connect: buildConnector.connector
}

/** One connection of a pool, for one call at a time: as undici's, but it bears a `100 Continue`. */
export class Connection extends Client {
  readonly #heads: InterimHeads

  constructor(origin: URL, options: Options) {
    const heads = new InterimHeads()
    super(origin, {
      ...options,
      connect: (to, callback) =>
        options.connect(to, (...made: Parameters<buildConnector.Callback>) => {
          const [error, socket] = made
          if (error === null) {
            heads.begin()
            watchHeads(socket, heads)
          }
          callback(...made)
        }),
    })
    this.#heads = heads
  }

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    this.#heads.begin()
    return super.dispatch(options, handler)
  }
}

/** For `factory` of a pool. */
export function makeConnection(origin: URL, options: object): Connection {
  return new Connection(origin, options as Options)
}
