import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A way to a server that can be cut: before a request gets there, or before its answer comes back. */
export class TcpProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #port: number
  #armed: ((request: Buffer) => boolean) | null = null
  cuts = 0
  /** Takes what clients send and passes none of it on. */
  silent = false
  /** Refuses new connections and keeps none. */
  closed = false

  private constructor(port: number) {
    this.#port = port
    this.#server = createServer((client) => this.#serve(client))
  }

  /** To the host and port of `url`; answers the proxy, whose `url` is the same through it. */
  static async to(
    t: { teardown(after: () => unknown): unknown },
    url: string,
  ): Promise<{ readonly proxy: TcpProxy; readonly url: string }> {
    const target = new URL(url)
    const proxy = new TcpProxy(Number(target.port))
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    t.teardown(() => proxy.close())
    target.port = String((proxy.#server.address() as AddressInfo).port)
    return { proxy, url: target.href }
  }

  /** The answer to the next request for which this holds is dropped, and its connection cut. */
  cutAnswerTo(holds: (request: Buffer) => boolean): void {
    this.#armed = holds
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.closed = true
    this.cutAll()
    this.#server.close()
  }

  #serve(client: Socket): void {
    if (this.closed) {
      client.destroy()
      return
    }
    const server = connect(this.#port, '127.0.0.1')
    let doomed = false
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
    }
    client.on('data', (chunk) => {
      if (this.#armed?.(chunk) === true) {
        doomed = true
        this.#armed = null
      }
      if (!this.silent) server.write(chunk)
    })
    server.on('data', (chunk) => {
      if (!doomed) client.write(chunk)
      else {
        this.cuts++
        client.destroy()
      }
    })
  }
}
