import type { ServerResponse } from 'node:http'

import { answer, type Behaviour, type Received } from './fake-upstream.ts'

/**
 * A provider's account as all its users share it: it keeps whatever it is told to and shows it to whoever
 * asks, so that only Governor stands between them.
 */

type Json = Record<string, unknown>

const PREFIXES: readonly [RegExp, string][] = [
  [/\/responses/, 'resp_'],
  [/\/files$/, 'file-'],
  [/\/batches$/, 'batch_'],
  [/\/threads$/, 'thread_'],
  [/\/runs$/, 'run_'],
  [/\/messages$/, 'msg_'],
  [/\/conversations$/, 'conv_'],
]

/** Everything that was ever made in it. */
export class FakeAccount {
  readonly things = new Map<string, Json>()
  #count = 0
  readonly behaviour: Behaviour = (received, response) => this.#answer(received, response)

  /** Makes a thing, as a POST to `path` does. */
  make(path: string, more: Json = {}): Json & { id: string } {
    this.#count += 1
    const plain = path.split('?')[0]!
    const prefix = PREFIXES.find(([pattern]) => pattern.test(plain))?.[1] ?? 'thing_'
    const id = `${prefix}${String(this.#count).padStart(6, '0')}`
    const thing = { id, object: 'thing', collection: plain, ...more }
    this.things.set(id, thing)
    return thing
  }

  #answer(received: Received, response: ServerResponse): void | Promise<void> {
    const { method, path } = received
    const url = new URL(path, 'http://account')
    if (method === 'POST') return answer(this.make(path))(received, response)
    const id = url.pathname.split('/').findLast((part) => this.things.has(part))
    if (method === 'DELETE') return answer({ id, deleted: true })(received, response)
    if (id !== undefined) return answer(this.things.get(id))(received, response)
    return answer(this.#page(url))(received, response)
  }

  #page({ pathname, searchParams }: URL): Json {
    const all = [...this.things.values()].filter(({ collection }) => collection === pathname)
    const after = searchParams.get('after') ?? searchParams.get('after_id')
    const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1
    const to = from + Number(searchParams.get('limit') ?? 20)
    const data = all.slice(from, to)
    const [first_id = null, last_id = null] = [data[0]?.['id'], data.at(-1)?.['id']]
    return { object: 'list', data, first_id, last_id, has_more: to < all.length }
  }
}
