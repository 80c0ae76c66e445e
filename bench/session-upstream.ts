import { createServer } from 'node:http'

import { type RawData, type WebSocket, WebSocketServer } from 'ws'

import { answers, listening, monotonicMs, pause } from './ipc.ts'

/** A provider of sessions that costs next to nothing: a response is pieces of a text at an even pace. */

let pace = { events: 100, paceMs: 20 }
answers('pace', (question) => {
  pace = question as typeof pace
  return {}
})

const server = createServer((_, outgoing) => outgoing.writeHead(404).end())
const sockets = new WebSocketServer({ server, perMessageDeflate: false })
let responses = 0

sockets.on('connection', (socket) => {
  socket.send('{"type":"session.created","session":{"id":"sess_bench"}}')
  socket.on('error', () => {})
  socket.on('message', (data: RawData) => {
    if ((data as Buffer).includes('response.create')) void respond(socket)
  })
})

async function respond(socket: WebSocket): Promise<void> {
  const id = `resp_${++responses}`
  const usage = { input_tokens: 20, output_tokens: pace.events, total_tokens: 20 + pace.events }
  socket.send(`{"type":"response.created","response":{"id":"${id}","status":"in_progress"}}`)
  const item = `"response_id":"${id}","item_id":"item_1","output_index":0,"content_index":0`
  const startedMs = performance.now()
  for (let sent = 0; sent < pace.events; sent++) {
    await pause(Math.max(0, startedMs + sent * pace.paceMs - performance.now()))
    const at = monotonicMs()
    socket.send(`{"type":"response.output_text.delta",${item},"delta":" harbour","at":${at}}`)
  }
  const response = { id, status: 'completed', output: [], usage }
  socket.send(JSON.stringify({ type: 'response.done', response }))
}

listening(server)
