import type * as Http from 'node:http'
import { createRequire } from 'node:module'

import type { Dispatcher } from 'undici'
import type * as Undici from 'undici'

/**
 * HTTP without what comes along with it. An `import` of node:http asks for each of its names, and some of them load
 * the undici inside Node: 61 instead of 47 MB for a process that does nothing else, measured with Node 24. The index of
 * the package undici loads fetch, WebSocket, caches and mocks as well: 110 files instead of 25. Without both, Governor
 * takes 125 instead of 133 MiB before the first call.
 */

const load = createRequire(import.meta.url)

/** Node's own http, whole. */
export const http = load('node:http') as typeof Http

/** Connections to one origin. */
export const Pool = load('undici/lib/dispatcher/pool.js') as typeof Undici.Pool
export type Pool = Undici.Pool

/** One connection to one origin. */
export const Client = load('undici/lib/dispatcher/client.js') as typeof Undici.Client

/** Connections to many origins. */
export const Agent = load('undici/lib/dispatcher/agent.js') as typeof Undici.Agent
export type Agent = Undici.Agent

/** What undici fails with. */
export const errors = load('undici/lib/core/errors.js') as typeof Undici.errors

type Ask = (
  this: Dispatcher,
  options: Dispatcher.RequestOptions,
) => Promise<Dispatcher.ResponseData>

const ask = load('undici/lib/api/api-request.js') as Ask

/** What is asked beside the place: the connections it goes over are always named. */
export interface Question extends Omit<Dispatcher.RequestOptions, 'origin' | 'path' | 'method'> {
  readonly dispatcher: Dispatcher
  /** GET where none is named. */
  readonly method?: Dispatcher.HttpMethod
}

/**
 * Asks for `url`, which has neither user nor password. Resolves when the head of the answer is there; a redirect
 * is not followed. Rejects with undici's error, with the reason of the signal, or with a TypeError for no URL.
 */
export async function request(
  url: string | URL,
  { dispatcher, method = 'GET', ...options }: Question,
): Promise<Dispatcher.ResponseData> {
  const { origin, pathname, search } = new URL(url)
  return ask.call(dispatcher, { ...options, origin, path: pathname + search, method })
}
