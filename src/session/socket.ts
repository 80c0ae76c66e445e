import type { RawData, WebSocket } from 'ws'

import { Inbox } from './inbox.ts'

/** What may wait in a socket before its other side is not read any further. */
const BUFFERED_BYTES_MAX = 1024 * 1024
const CLOSE_MS = 1_000
const TEXT = { binary: false }
const BINARY = { binary: true }

/** One message of a socket. */
export interface Message {
  readonly bytes: Buffer
  readonly isBinary: boolean
  /** Counted as in flight until it is done with; absent where none is. */
  readonly heldBytes?: number
}

/** A message, or that there will be no more. */
export type Received = Message | { readonly closed: number }

/**
 * Sends a message. Where much waits already it resolves when there is room again; a socket that
 * takes nothing for `stalledMs` is given up. One that is closing takes nothing and says nothing: that
 * is heard of as `close`.
 */
export function sendMessage(
  to: WebSocket,
  { bytes, isBinary }: Message,
  stalledMs: number,
): void | Promise<void> {
  if (to.readyState !== to.OPEN) return
  const how = isBinary ? BINARY : TEXT
  if (to.bufferedAmount < BUFFERED_BYTES_MAX) return to.send(bytes, how, ignore)
  return new Promise((resolve) => {
    const stalled = setTimeout(() => to.terminate(), stalledMs)
    to.send(bytes, how, () => {
      clearTimeout(stalled)
      resolve()
    })
  })
}

function ignore(): void {}

/** Who listens to one side of a session. */
export interface Listener {
  /** One after the other; while one is worked on its side is not read. */
  take(received: Received): void | Promise<void>
  /** What `take` failed with. */
  fail(error: unknown): void
  /** The side was heard of, whatever it said. */
  seen(): void
  /** It said something; how much of it is counted as in flight. */
  said(): number
  /** Messages that nobody has heard yet. */
  readonly heard: readonly Message[]
  /** What it said before it went is still worked on; else its end is taken at once. */
  readonly outlives: boolean
}

/** Listens to a socket, which has been paused so far. */
export function listenTo(socket: WebSocket, listener: Listener): void {
  const inbox = new Inbox<Received>(
    socket,
    (received) => listener.take(received),
    (error) => listener.fail(error),
  )
  const seen = (): void => listener.seen()
  socket.on('message', (data: RawData, isBinary: boolean) => {
    inbox.push({ bytes: data as Buffer, isBinary, heldBytes: listener.said() })
  })
  socket.on('pong', seen)
  socket.on('ping', seen)
  // What a socket complains of ends it, and that is heard of as `close`.
  socket.on('error', ignore)
  socket.on('close', (closed: number) => {
    if (listener.outlives) inbox.push({ closed })
    else void listener.take({ closed })
  })
  const isOpen = socket.readyState === socket.OPEN
  // Before the inbox has something to do, which is when it pauses it.
  if (isOpen) socket.resume()
  for (const message of listener.heard) inbox.push(message)
  if (!isOpen) inbox.push({ closed: 1006 })
}

/** Says goodbye (RFC 6455 §7.1.2), and does not wait for an answer for long. */
export function closeSocket(socket: WebSocket, code: number, reason: string): void {
  if (socket.readyState === socket.CLOSED) return
  // It has to be read, or the other side's goodbye would never be.
  socket.resume()
  const late = setTimeout(() => socket.terminate(), CLOSE_MS)
  late.unref()
  socket.once('close', () => clearTimeout(late))
  socket.close(code, reason)
}
