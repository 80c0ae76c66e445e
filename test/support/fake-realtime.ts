import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import { type RawData, WebSocket, WebSocketServer } from 'ws'

import { until } from './until.ts'

interface Test {
  teardown(then: () => unknown): void
}

export type Event = Readonly<Record<string, unknown>> & { readonly type: string }

/** One session as the provider sees it. */
export class FakeSession {
  readonly socket: WebSocket
  readonly head: IncomingMessage
  readonly received: Event[] = []
  readonly texts: string[] = []
  /** Code the other side closed with; 0 while it is open. */
  closed = 0
  #responses = 0

  constructor(socket: WebSocket, head: IncomingMessage, script: Script) {
    this.socket = socket
    this.head = head
    socket.on('error', () => {})
    socket.on('close', (code: number) => {
      this.closed = code
    })
    socket.on('message', (data: RawData) => {
      const text = (data as Buffer).toString()
      const event = JSON.parse(text) as Event
      this.texts.push(text)
      this.received.push(event)
      script(this, event)
    })
  }

  send(event: Event): void {
    this.socket.send(JSON.stringify(event))
  }

  /** A response in pieces, as the provider tells of it; resolves to its id. */
  respond(pieces: readonly string[], usage: object | null = USAGE): string {
    const id = this.begin()
    const item = { response_id: id, item_id: 'item_1', output_index: 0, content_index: 0 }
    for (const delta of pieces) this.send({ type: 'response.output_text.delta', ...item, delta })
    const text = pieces.join('')
    this.send({ type: 'response.output_text.done', ...item, text })
    const output = [
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text }] },
    ]
    this.send({
      type: 'response.done',
      response: { id, status: 'completed', output, ...(usage !== null && { usage }) },
    })
    return id
  }

  begin(): string {
    const id = `resp_${++this.#responses}`
    this.send({ type: 'response.created', response: { id, status: 'in_progress' } })
    return id
  }
}

export const USAGE = {
  total_tokens: 30,
  input_tokens: 20,
  output_tokens: 10,
  input_token_details: { cached_tokens: 4, text_tokens: 20 },
}

type Script = (session: FakeSession, event: Event) => void

/** A provider of realtime sessions that does what a test says. */
export class FakeRealtime {
  readonly sessions: FakeSession[] = []
  readonly #server: Server
  /** Called for every event of a client. */
  script: Script = (session, event) => {
    if (event.type === 'session.update') session.send({ ...event, type: 'session.updated' })
    if (event.type === 'response.create') session.respond(['Hello ', 'there'])
  }

  private constructor(server: Server) {
    this.#server = server
  }

  /** `greets`: a session begins with an event of the provider. */
  static async start(t: Test, { greets = true } = {}): Promise<FakeRealtime> {
    const server = createServer((_, outgoing) => outgoing.writeHead(404).end())
    const sockets = new WebSocketServer({
      server,
      perMessageDeflate: true,
      handleProtocols: (offered) => (offered.has('realtime') ? 'realtime' : false),
    })
    const fake = new FakeRealtime(server)
    sockets.on('connection', (socket: WebSocket, head: IncomingMessage) => {
      const session = new FakeSession(socket, head, (who, event) => fake.script(who, event))
      fake.sessions.push(session)
      const created = { id: 'sess_1', model: 'gpt-realtime' }
      if (greets) session.send({ type: 'session.created', session: created })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      for (const socket of sockets.clients) socket.terminate()
      server.closeAllConnections()
      server.close()
    })
    return fake
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get last(): FakeSession {
    return this.sessions.at(-1)!
  }
}

/** A client of sessions that keeps what it hears. */
export class RealtimeClient {
  readonly socket: WebSocket
  readonly heard: Event[] = []
  headers: IncomingMessage['headers'] = {}
  closed: { readonly code: number; readonly reason: string } | null = null

  constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('upgrade', (response) => {
      this.headers = response.headers
    })
    socket.on('message', (data: RawData) => {
      this.heard.push(JSON.parse((data as Buffer).toString()) as Event)
    })
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
    })
  }

  /** Opens a session; rejects with the status where it is refused. */
  static async open(base: string, key: string, path = PATH): Promise<RealtimeClient> {
    const socket = new WebSocket(base.replace('http', 'ws') + path, {
      headers: { authorization: `Bearer ${key}` },
    })
    const client = new RealtimeClient(socket)
    await new Promise<void>((resolve, reject) => {
      socket.on('open', resolve)
      socket.on('unexpected-response', (_, response) =>
        reject(new Error(String(response.statusCode))),
      )
    })
    return client
  }

  send(event: Event): void {
    this.socket.send(JSON.stringify(event))
  }

  /** The first event of a type from number `from` on. */
  hears(type: string, from = 0): Promise<Event> {
    return until(
      `the event ${type}, not only ${this.heard.map((each) => each.type).join()}`,
      () => {
        return this.heard.slice(from).find((event) => event.type === type) ?? null
      },
    )
  }

  isClosed(): Promise<{ readonly code: number; readonly reason: string }> {
    return until('the session to be closed', () => this.closed)
  }
}

export const PATH = '/v1/realtime?model=gpt-realtime'

/** An item of a user. */
export function said(text: string): Event {
  const content = [{ type: 'input_text', text }]
  return { type: 'conversation.item.create', item: { type: 'message', role: 'user', content } }
}
