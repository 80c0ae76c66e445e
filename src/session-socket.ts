import type { WebSocket } from 'ws'

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
