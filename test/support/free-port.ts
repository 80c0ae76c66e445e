import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/** Below the range the system takes ports of connections from, which would race with a server's start. */
const PORTS = { from: 10_240, below: 32_768 } as const

/** A port nobody listens on or is given by chance. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(randomInt(PORTS.from, PORTS.below), '127.0.0.1')
    const port = await once(server, 'listening').then(
      () => (server.address() as AddressInfo).port,
      () => null,
    )
    server.close()
    if (port !== null) return port
  }
}
