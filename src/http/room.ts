import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'

/**
 * The places of a listener: at most `max` connections at once. Turned away at the door, callers would be
 * kept out by connections that say nothing, each for as long as it may. So once all places are taken
 * the one that has been silent longest makes room; where all are being answered, the newest is closed.
 * To be told of each request: a connection is silent until `speaks` and again from `falls`. Both cost one
 * operation on a set.
 */
export class Room {
  /** In the order in which they were last answered, or came. */
  readonly #silent = new Set<Socket>()
  readonly #max: number
  #open = 0

  constructor(server: Server, max: number) {
    this.#max = max
    server.on('connection', (socket: Socket) => {
      socket.on('close', () => {
        this.#open -= 1
        this.#silent.delete(socket)
      })
      this.#add(socket)
    })
    if (server instanceof TlsServer) this.#followTls(server)
  }

  /** With TLS the socket that requests are read from is another one, on top of the first. */
  #followTls(server: TlsServer): void {
    const shaking = new Map<string, Socket>()
    server.on('connection', (below: Socket) => {
      const name = peerOf(below)
      shaking.set(name, below)
      below.on('close', () => shaking.delete(name))
    })
    server.on('secureConnection', (socket: Socket) => {
      const below = shaking.get(peerOf(socket))
      if (below !== undefined) this.#silent.delete(below)
      socket.on('close', () => this.#silent.delete(socket))
      this.falls(socket)
    })
  }

  /** A request has come: this connection is in use. */
  speaks(socket: Socket): void {
    this.#silent.delete(socket)
  }

  /** Everything on it has been answered. */
  falls(socket: Socket): void {
    if (!socket.destroyed) this.#silent.add(socket)
  }

  #add(socket: Socket): void {
    this.#open += 1
    this.#silent.add(socket)
    if (this.#open <= this.#max) return
    const [oldest] = this.#silent
    this.#silent.delete(oldest!)
    oldest!.destroy()
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
