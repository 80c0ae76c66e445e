import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

import { until } from './until.ts'

/** Speaks HTTP as bytes, so that a test can say what no client library would. */

export interface RawAnswer {
  readonly status: number
  /** Lower-case names; the last one wins. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export class RawConnection {
  readonly socket: Socket
  closed = false
  #received = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
    })
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('error', () => {})
  }

  static async open(base: string, { halfOpen = false } = {}): Promise<RawConnection> {
    const { hostname, port } = new URL(base)
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: halfOpen })
    await once(socket, 'connect')
    return new RawConnection(socket)
  }

  send(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** What has come and was not read as an answer. */
  get unread(): string {
    return this.#received.toString('latin1')
  }

  /** The next whole answer, informational ones included. */
  async answer(withinMs = 10_000): Promise<RawAnswer> {
    return until(
      `an answer, after ${JSON.stringify(this.unread.slice(0, 200))}`,
      () => {
        const found = parseAnswer(this.#received, this.closed)
        if (found !== null) this.#received = this.#received.subarray(found.bytes)
        else if (this.closed) throw new Error(`Closed after ${JSON.stringify(this.unread)}`)
        return found?.answer
      },
      withinMs,
    )
  }

  async untilClosed(withinMs = 10_000): Promise<void> {
    await until('the connection to close', () => this.closed, withinMs)
  }

  destroy(): void {
    this.socket.destroy()
  }
}

/** Sends bytes on a connection of their own and reads one answer. */
export async function rawAnswer(base: string, bytes: string | Buffer): Promise<RawAnswer> {
  const connection = await RawConnection.open(base)
  try {
    connection.send(bytes)
    return await connection.answer()
  } finally {
    connection.destroy()
  }
}

function parseAnswer(
  received: Buffer,
  closed: boolean,
): { answer: RawAnswer; bytes: number } | null {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd === -1) return null
  const [statusLine = '', ...lines] = received.toString('latin1', 0, headEnd).split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const at = line.indexOf(':')
    headers[line.slice(0, at).toLowerCase()] = line.slice(at + 1).trim()
  }
  const status = Number(statusLine.split(' ')[1])
  const rest = received.subarray(headEnd + 4)
  const body = parseBody(status, headers, rest, closed)
  if (body === null) return null
  return { answer: { status, headers, body: body.text }, bytes: headEnd + 4 + body.bytes }
}

function parseBody(
  status: number,
  headers: Record<string, string>,
  rest: Buffer,
  closed: boolean,
): { text: string; bytes: number } | null {
  if (status < 200 || status === 204) return { text: '', bytes: 0 }
  if (headers['transfer-encoding'] === 'chunked') return parseChunks(rest)
  const length = headers['content-length']
  if (length !== undefined) {
    const bytes = Number(length)
    return rest.length < bytes ? null : { text: rest.toString('utf8', 0, bytes), bytes }
  }
  return closed ? { text: rest.toString(), bytes: rest.length } : null
}

function parseChunks(rest: Buffer): { text: string; bytes: number } | null {
  let text = ''
  let at = 0
  for (;;) {
    const lineEnd = rest.indexOf('\r\n', at)
    if (lineEnd === -1) return null
    const size = Number.parseInt(rest.toString('latin1', at, lineEnd), 16)
    const next = lineEnd + 2 + size + 2
    if (rest.length < next) return null
    text += rest.toString('utf8', lineEnd + 2, lineEnd + 2 + size)
    at = next
    if (size === 0) return { text, bytes: at }
  }
}
