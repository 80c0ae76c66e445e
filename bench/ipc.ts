import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import process from 'node:process'

/** The children's side of `child.ts`: plain messages, `{ ask }` one way and `{ about }` the other. */

/** In a child: listens on a free port and tells the parent where. */
export function listening(server: Server): void {
  server.keepAliveTimeout = 75_000
  server.listen(0, '127.0.0.1', 2048, () => {
    const { port } = server.address() as AddressInfo
    process.send!({ about: 'url', url: `http://127.0.0.1:${port}` })
  })
}

/** In a child: answers questions named `name` with what `answer` returns. */
export function answers(
  name: string,
  answer: (question: object) => object | Promise<object>,
): void {
  const reply = async (question: object): Promise<void> => {
    const said = await answer(question)
    process.send!({ about: name, ...said })
  }
  process.channel?.ref()
  process.on('message', (message: { ask?: string }) => {
    if (message.ask === name) void reply(message)
  })
}

/** A clock that all processes of the machine share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

export function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
