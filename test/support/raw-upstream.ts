import { createServer, type AddressInfo, type Socket } from 'node:net'

/**
 * Bytes, as Latin-1, then the next ones; `null` waits for a turn of the event loop, `end` and `reset` close the
 * connection.
 */
export type Said = readonly (string | null)[]

/** A provider that speaks HTTP as bytes: what no server library would say can be said. */
export class RawUpstream {
  url = ''
  /** Whole requests that came, as Latin-1. */
  readonly received: string[] = []
  /** Connections that were opened. */
  connections = 0
  /** What follows each request. */
  says: Said = []

  /** Listens on a free loopback port until the test ends. */
  static async start(t: { teardown(then: () => unknown): void }): Promise<RawUpstream> {
    const upstream = new RawUpstream()
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      upstream.#serve(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    upstream.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    t.teardown(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    return upstream
  }

  #serve(socket: Socket): void {
    this.connections += 1
    let begun = ''
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      begun += bytes.toString('latin1')
      const head = begun.indexOf('\r\n\r\n')
      if (head === -1) return
      const length = Number(/^content-length: (\d+)/im.exec(begun.slice(0, head))?.[1] ?? 0)
      if (begun.length < head + 4 + length) return
      this.received.push(begun)
      begun = ''
      void this.#say(socket)
    })
  }

  async #say(socket: Socket): Promise<void> {
    for (const part of this.says) {
      if (part === null) await new Promise((resolve) => setImmediate(resolve))
      else if (part === 'end') socket.end()
      else if (part === 'reset') socket.resetAndDestroy()
      else await new Promise((resolve) => socket.write(part, 'latin1', resolve))
    }
  }
}
