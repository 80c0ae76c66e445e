import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

const TICK_MS = 10
const sleep = (timeMs: number) => new Promise((resolve) => setTimeout(resolve, timeMs))

/** A way to a server that can be cut, before a request gets there or before its answer comes back, and slow. */
export class TcpProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #port: number
  #armed: ((request: Buffer) => boolean) | null = null
  cuts = 0
  /** Takes what clients send and passes none of it on. */
  silent = false
  /** What the server says arrives so much later, milliseconds; on open connections, too. */
  delayMs = 0
  /** Of each direction so many bytes pass every `TICK_MS`, on each connection. */
  bytesPerTick = Infinity
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

  get isOpen(): boolean {
    return this.#sockets.size > 0
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
    const toServer = this.#slowly(server, () => 0)
    const toClient = this.#slowly(client, () => this.delayMs)
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
      if (!this.silent) toServer(chunk)
    })
    server.on('data', (chunk) => {
      if (!doomed) toClient(chunk)
      else {
        this.cuts++
        client.destroy()
      }
    })
  }

  /** Passes what it is given on to `socket`, in order and as slowly as it has to be. */
  #slowly(socket: Socket, delayMs: () => number): (chunk: Buffer) => void {
    let waiting = 0
    let last = Promise.resolve()
    const pass = async (chunk: Buffer, dueMs: number) => {
      await sleep(Math.max(dueMs - performance.now(), 0))
      for (let at = 0; at < chunk.length && !socket.destroyed; at += this.bytesPerTick) {
        if (at > 0) await sleep(TICK_MS)
        socket.write(chunk.subarray(at, at + this.bytesPerTick))
      }
      waiting--
    }
    return (chunk) => {
      const dueMs = performance.now() + delayMs()
      if (waiting === 0 && delayMs() === 0 && chunk.length <= this.bytesPerTick) {
        socket.write(chunk)
        return
      }
      waiting++
      last = last.then(() => pass(chunk, dueMs))
    }
  }
}
