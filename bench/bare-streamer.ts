import { createServer, type ServerResponse } from 'node:http'
import { argv } from 'node:process'

import { type Dispatcher, Pool } from 'undici'

import { listening } from './ipc.ts'

/** The bare forwarder for streams: every chunk is written as it comes, with back-pressure. */
class Stream implements Dispatcher.DispatchHandler {
  readonly #outgoing: ServerResponse

  constructor(outgoing: ServerResponse) {
    this.#outgoing = outgoing
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#outgoing.on('drain', () => controller.resume())
    this.#outgoing.on('close', () => {
      if (!this.#outgoing.writableFinished) controller.abort(new Error('the client left'))
    })
  }

  onResponseStart(_: unknown, status: number, headers: Record<string, unknown>): void {
    this.#outgoing.writeHead(status, { 'content-type': String(headers['content-type']) })
    this.#outgoing.flushHeaders()
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#outgoing.write(chunk)) controller.pause()
  }

  onResponseEnd(): void {
    this.#outgoing.end()
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
    const body = Buffer.concat(chunks)
    pool.dispatch({ path: incoming.url!, method: 'POST', headers, body }, new Stream(outgoing))
  })
})
listening(server)
