import { hash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createRawServer, type Socket } from 'node:net'

import { CHAT_ANSWER } from '../support/fake-upstream.ts'
import { type Answering, FORBIDDEN } from './fuzz-cases.ts'

/** What cases ask for; a piece that was sent twice names one of them, as `/v1/models/models` does. */
const KNOWN =
  /^\/v1\/(?:(?:chat\/completions|models|files)(?:\/[A-Za-z0-9][\w.:@-]*)?|audio\/transcriptions)$/

/** The provider of a fuzz campaign: strict about what it is sent, free in what it answers. */
export class FuzzUpstream {
  /** Scripts of the cases under way, by number. */
  readonly answers = new Map<number, Answering>()
  readonly problems: string[] = []
  /** SHA-256 of every body that came, hex. */
  readonly bodies = new Set<string>()
  /** Requests without a body. */
  bodiless = 0
  readonly #server: Server
  readonly #raw = createRawServer((socket) => this.#takeRaw(socket))
  readonly #sockets = new Set<Socket>()

  constructor() {
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      void this.#take(request, response).catch(() => response.destroy())
    })
    this.#server.on('clientError', (error, socket) => {
      if (!('code' in error) || error.code !== 'ECONNRESET') {
        this.problems.push(`The provider was sent what is no HTTP: ${error.message}`)
      }
      socket.destroy()
    })
  }

  /** URLs of the server that speaks HTTP and of the one that nearly does. */
  async open(): Promise<{ url: string; rawUrl: string }> {
    const urls = [this.#server, this.#raw].map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    })
    const [url = '', rawUrl = ''] = await Promise.all(urls)
    return { url, rawUrl }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
    await new Promise((resolve) => this.#raw.close(resolve))
  }

  /** Every body is looked at, by eyes that are not Governor's. Number of the case, where it says one. */
  #see(path: string, body: Buffer): number {
    if (!KNOWN.test(path)) {
      this.problems.push(`The provider was asked for ${path}`)
    }
    if (body.length === 0) {
      this.bodiless += 1
      return -1
    }
    this.bodies.add(hash('sha256', body))
    if (!path.endsWith('/completions')) return -1
    const text = body.toString()
    const said = JSON.parse(text) as { seed?: unknown }
    if ((text + JSON.stringify(said)).toLowerCase().includes(FORBIDDEN)) {
      this.problems.push(`The provider was sent what is forbidden: ${text.slice(0, 500)}`)
    }
    return Number(said.seed)
  }

  /** Fields of a form, and lines of a batch file, as another parser reads them. */
  async #seeForm(type: string, body: Buffer): Promise<void> {
    const headers = { 'content-type': type }
    // What the other parser refuses, no provider that is like it would read.
    const form = await new Response(new Uint8Array(body), { headers }).formData().catch(() => null)
    for (const [name, value] of form ?? []) {
      const isLines = typeof value !== 'string' && form?.has('purpose') === true
      const read = typeof value === 'string' ? value : isLines ? await value.text() : value.name
      if (!`${name} ${read}`.toLowerCase().includes(FORBIDDEN)) continue
      this.problems.push(`The provider was sent what is forbidden: ${name} ${read.slice(0, 500)}`)
    }
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const type = request.headers['content-type'] ?? ''
    if (type.startsWith('multipart/')) await this.#seeForm(type, body)
    const seed = this.#see(request.url ?? '', body)
    const script = this.answers.get(seed)
    if (script === undefined) {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(CHAT_ANSWER))
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const piece of script.pieces) {
      response.write(piece)
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (script.ends === 'end') response.end()
    else response.socket?.resetAndDestroy()
  }

  #takeRaw(socket: Socket): void {
    this.#sockets.add(socket)
    let text = ''
    socket.on('close', () => this.#sockets.delete(socket)).on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const head = text.indexOf('\r\n\r\n')
      const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(text)?.[1] ?? Number.NaN)
      if (head === -1 || !(text.length >= head + 4 + length)) return
      const path = text.slice(0, head).split(' ')[1] ?? ''
      const seed = this.#see(path, Buffer.from(text.slice(head + 4), 'latin1'))
      text = ''
      const script = this.answers.get(seed)
      for (const piece of script?.pieces ?? []) socket.write(piece)
      if (script?.ends === 'end') socket.end()
      else socket.resetAndDestroy()
    })
  }
}
