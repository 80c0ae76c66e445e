import { createServer, type ServerResponse } from 'node:http'
import { argv } from 'node:process'

import { type Dispatcher, Pool } from 'undici'

import { listening } from './ipc.ts'

/**
 * The least a Node proxy can do: read the body, send it on, collect the answer, write it once. It
 * checks nothing, keeps nothing and writes down nothing; Governor is measured against it.
 */
class Answer implements Dispatcher.DispatchHandler {
  readonly #outgoing: ServerResponse
  readonly #chunks: Buffer[] = []
  #status = 0
  #type = ''

  constructor(outgoing: ServerResponse) {
    this.#outgoing = outgoing
  }

  onRequestStart(): void {}

  onResponseStart(_: unknown, status: number, headers: Record<string, unknown>): void {
    this.#status = status
    this.#type = String(headers['content-type'])
  }

  onResponseData(_: unknown, chunk: Buffer): void {
    this.#chunks.push(chunk)
  }

  onResponseEnd(): void {
    const body = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    const headers = { 'content-type': this.#type, 'content-length': body.length }
    this.#outgoing.writeHead(this.#status, headers).end(body)
  }

  onResponseError(): void {
    this.#outgoing.destroy()
  }
}

const pool = new Pool(argv[2]!, { pipelining: 1 })
const server = createServer((incoming, outgoing) => {
  const chunks: Buffer[] = []
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
  incoming.on('end', () => {
    const headers = { 'content-type': 'application/json' }
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    pool.dispatch({ path: incoming.url!, method: 'POST', headers, body }, new Answer(outgoing))
  })
})
listening(server)
