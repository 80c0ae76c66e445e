import { Agent, request } from 'node:http'
import process from 'node:process'

import { answers, pause } from './ipc.ts'

/** The process that guesses at keys: so many calls a second, from many addresses, whatever is answered. */

export interface KeyFlood {
  readonly url: string
  /** Credentials, sent in turn. */
  readonly keys: readonly string[]
  readonly body: string
  readonly perSecond: number
  readonly durationMs: number
}

export interface FloodResult {
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>
}

/** All of 127.0.0.0/8 is this machine: each is a source of its own to whoever slows down sources. */
const ADDRESSES = 200
const TICK_MS = 20

answers('flood', async (question): Promise<FloodResult> => {
  const { url, keys, body, perSecond, durationMs } = question as KeyFlood
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const statuses: Record<string, number> = {}
  const answered: Promise<void>[] = []
  const one = (index: number) =>
    new Promise<void>((resolve) => {
      const done = (status: string) => {
        statuses[status] = (statuses[status] ?? 0) + 1
        resolve()
      }
      const headers = {
        authorization: `Bearer ${keys[index % keys.length]!}`,
        'content-type': 'application/json',
      }
      const localAddress = `127.0.1.${1 + (index % ADDRESSES)}`
      const sent = request(url, { method: 'POST', agent, headers, localAddress }, (answer) => {
        answer.resume()
        answer.on('end', () => done(String(answer.statusCode)))
        answer.on('error', () => done('broken'))
      })
      sent.on('error', () => done('broken'))
      sent.end(body)
    })
  const beganMs = performance.now()
  for (let count = 0; ;) {
    const passedMs = performance.now() - beganMs
    if (passedMs >= durationMs) break
    for (const due = (passedMs * perSecond) / 1000; count < due; count++) answered.push(one(count))
    await pause(TICK_MS)
  }
  await Promise.all(answered)
  agent.destroy()
  return { statuses }
})
process.send!({ about: 'url', url: '' })
