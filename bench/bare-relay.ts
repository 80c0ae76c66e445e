import { createServer, type IncomingMessage } from 'node:http'
import { argv } from 'node:process'

import { type RawData, WebSocket, WebSocketServer } from 'ws'

import { listening } from './ipc.ts'

/** The bare relay: `ws` on both sides, each message sent on as it comes, with back-pressure. */
const target = argv[2]!.replace('http', 'ws')
const server = createServer((_, outgoing) => outgoing.writeHead(404).end())
const sockets = new WebSocketServer({ server, perMessageDeflate: false })
const BUFFERED_BYTES_MAX = 1024 * 1024

function relay(from: WebSocket, to: WebSocket): void {
  from.on('message', (data: RawData, binary: boolean) => {
    const isFull = to.bufferedAmount >= BUFFERED_BYTES_MAX
    if (isFull) from.pause()
    to.send(data as Buffer, { binary }, () => {
      if (isFull) from.resume()
    })
  })
  from.on('error', () => {})
  from.on('close', () => to.close())
}

sockets.on('connection', (client: WebSocket, { url = '/' }: IncomingMessage) => {
  client.pause()
  const upstream = new WebSocket(target + url, { perMessageDeflate: false })
  relay(client, upstream)
  relay(upstream, client)
  upstream.on('open', () => client.resume())
})
listening(server)
