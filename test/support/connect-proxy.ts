import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'

import type { Pair } from './certificates.ts'

/** What a proxy does with a CONNECT; the usual opens the way. */
export type ProxyBehaviour = (proxy: ConnectProxy, client: Socket, request: IncomingMessage) => void

/** An outbound proxy that writes down what it was asked and every byte that passed. */
export class ConnectProxy {
  readonly asked: { readonly target: string; readonly rawHeaders: readonly string[] }[] = []
  /** Requests that were no CONNECT. */
  readonly others: string[] = []
  behaviour: ProxyBehaviour = opensTheWay
  url = ''
  #passed = ''
  readonly #sockets = new Set<Socket>()
  readonly #server: Server

  private constructor(pair: Pair | null) {
    this.#server = pair === null ? createHttpServer() : createHttpsServer({ ...pair })
    this.#server.on('request', (request, response) => {
      this.others.push(`${request.method} ${request.url}`)
      response.writeHead(500).end()
    })
    this.#server.on('connect', (request: IncomingMessage, socket: Socket) => {
      this.asked.push({ target: request.url ?? '', rawHeaders: request.rawHeaders })
      this.keep(socket)
      this.behaviour(this, socket, request)
    })
  }

  /** Listens on a free loopback port until the test ends; with a pair it speaks TLS. */
  static async start(
    t: { teardown(then: () => unknown): void },
    { pair = null, behaviour }: { pair?: Pair | null; behaviour?: ProxyBehaviour } = {},
  ): Promise<ConnectProxy> {
    const proxy = new ConnectProxy(pair)
    if (behaviour !== undefined) proxy.behaviour = behaviour
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    const { port } = proxy.#server.address() as AddressInfo
    proxy.url = `${pair === null ? 'http' : 'https'}://127.0.0.1:${port}`
    t.teardown(() => proxy.close())
    return proxy
  }

  /** Everything that passed in either direction after the way was open. */
  get passed(): string {
    return this.#passed
  }

  /** Ends the connections of all ways. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.cutAll()
    this.#server.closeAllConnections()
    this.#server.close()
  }

  pass(from: Socket, to: Socket): void {
    from.on('data', (chunk: Buffer) => {
      this.#passed += chunk.toString('latin1')
      to.write(chunk)
    })
    from.on('close', () => to.destroy())
  }

  keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }
}

export const opensTheWay: ProxyBehaviour = (proxy, client, { url = '' }) => {
  const { hostname, port } = new URL(`http://${url}`)
  const upstream = connect(Number(port || 80), hostname)
  proxy.keep(upstream)
  upstream.on('connect', () => {
    // RFC 9110 §9.3.6: lengths in a successful answer mean nothing.
    client.write('HTTP/1.1 200 Connection established\r\ncontent-length: 7\r\n\r\n')
    proxy.pass(client, upstream)
    proxy.pass(upstream, client)
  })
}

/** Says these bytes and nothing more; the connection stays. */
export function says(head: string): ProxyBehaviour {
  return (_proxy, client) => void client.write(head)
}
