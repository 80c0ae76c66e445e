import process from 'node:process'

import { type RawData, WebSocket } from 'ws'

import { answers, monotonicMs, pause } from './ipc.ts'
import { percentile } from './statistics.ts'

/** The process at both ends of sessions: a client of each, and their provider. */

export interface SessionLoad {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Held open, silent. */
  readonly idle: number
}

/** What busy sessions felt: each asks for responses, and hears their events at an even pace. */
export interface BusyResult {
  /** From the provider to the client, of each event. */
  readonly p50Ms: number
  readonly p99Ms: number
  /** There and back, of an event that asks for a response. */
  readonly askedP50Ms: number
  readonly askedP99Ms: number
}

export interface BusyLoad {
  readonly sessions: number
  /** Responses that each session asks for, one after the other. */
  readonly responses: number
  /** Each session begins at a moment of its own in this time. */
  readonly spreadMs: number
}

interface Heard {
  readonly askedMs: number
  readonly delays: readonly number[]
}

const PATH = '/v1/realtime?model=gpt-realtime'
let open: WebSocket[] = []

answers('open', async (question) => {
  const { url, headers, idle } = question as SessionLoad
  const opening: Promise<WebSocket>[] = []
  for (let index = 0; index < idle; index++) {
    opening.push(connect(url.replace('http', 'ws') + PATH, headers))
    if (index % 20 === 19) await Promise.all(opening)
  }
  open = await Promise.all(opening)
  return { sessions: open.length }
})

answers('close', async () => {
  for (const socket of open) socket.terminate()
  open = []
  await pause(500)
  return {}
})

answers('busy', async (question): Promise<BusyResult> => {
  const { sessions, responses, spreadMs } = question as BusyLoad
  const heard: Heard[] = []
  await Promise.all(
    open.slice(0, sessions).map(async (socket) => {
      await pause(Math.random() * spreadMs)
      for (let asked = 0; asked < responses; asked++) heard.push(await talk(socket))
    }),
  )
  const delays = sorted(heard.flatMap((each) => each.delays))
  const asked = sorted(heard.map(({ askedMs }) => askedMs))
  return {
    p50Ms: percentile(delays, 50),
    p99Ms: percentile(delays, 99),
    askedP50Ms: percentile(asked, 50),
    askedP99Ms: percentile(asked, 99),
  }
})

function sorted(values: readonly number[]): number[] {
  return values.toSorted((one, other) => one - other)
}

function connect(url: string, headers: Readonly<Record<string, string>>): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { headers, perMessageDeflate: false })
    socket.once('open', () => resolve(socket))
    socket.once('error', reject)
    socket.once('unexpected-response', (_, { statusCode }) => {
      reject(new Error(`status ${statusCode}`))
    })
  })
}

/** Asks for a response and hears it to its end. */
async function talk(socket: WebSocket): Promise<Heard> {
  const delays: number[] = []
  const done = Promise.withResolvers<void>()
  let askedMs = 0
  const hear = (data: RawData): void => {
    const event = JSON.parse((data as Buffer).toString()) as { type: string; at?: number }
    if (event.type === 'response.created') askedMs = monotonicMs() - startedMs
    else if (event.at !== undefined) delays.push(monotonicMs() - event.at)
    else if (event.type === 'response.done') done.resolve()
  }
  socket.on('message', hear)
  const startedMs = monotonicMs()
  socket.send('{"type":"response.create"}')
  await done.promise
  socket.off('message', hear)
  return { askedMs, delays }
}

process.send!({ about: 'url', url: '' })
