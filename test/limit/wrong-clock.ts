import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'

import type { RedisServer } from '../support/redis.ts'

/** A way to Redis on which TIME says that it is later by `byMs`, which may be negative; its address. */
export async function saying(
  t: { teardown(then: () => unknown): void },
  { port }: RedisServer,
  byMs: number,
): Promise<string> {
  const timeAnswer = /^\*2\r\n\$10\r\n(\d{10})/
  const server = createServer((client) => {
    const redis = connect(port, '127.0.0.1')
    for (const [one, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      one.on('error', () => {})
      one.on('close', () => other.destroy())
    }
    client.on('data', (chunk) => redis.write(chunk))
    redis.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      const said = text.replace(timeAnswer, (_, s) => `*2\r\n$10\r\n${Number(s) + byMs / 1000}`)
      client.write(said, 'latin1')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
}
