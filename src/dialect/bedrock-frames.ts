/**
 * Event streams of AWS (`application/vnd.amazon.eventstream`): frames of total length, header length,
 * CRC of both, headers, payload, CRC of all before it; integers big-endian, CRC-32 of RFC 1952.
 */
import { crc32 } from 'node:zlib'

/** A longer frame is refused: events of a model are some hundred bytes. */
export const FRAME_BYTES_MAX = 1024 * 1024

const PRELUDE_BYTES = 12
const CRC_BYTES = 4
const STRING_TYPE = 7
/** Bytes of the values of other header types; -1: not known. */
const VALUE_BYTES = [0, 0, 1, 2, 4, 8, -1, -1, 8, 16]

/** One frame. */
export interface Frame {
  /** Headers whose values are strings. */
  readonly headers: ReadonlyMap<string, string>
  readonly payload: Buffer
}

/** Why a stream cannot be read any further. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

const EMPTY = Buffer.alloc(0)

/** Cuts a stream into whole frames, however its bytes arrive. */
export class FrameSplitter {
  #held: Buffer = EMPTY

  /** Bytes of a frame that is not whole yet. */
  get heldBytes(): number {
    return this.#held.length
  }

  /** Bytes of the frames that are whole now. Throws FrameError where lengths or sums are wrong. */
  *push(chunk: Buffer): Generator<Buffer> {
    let rest = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    this.#held = EMPTY
    while (rest.length >= PRELUDE_BYTES) {
      const bytes = frameBytes(rest)
      if (rest.length < bytes) break
      yield rest.subarray(0, bytes)
      rest = rest.subarray(bytes)
    }
    this.#held = rest
  }
}

function frameBytes(prelude: Buffer): number {
  const bytes = prelude.readUInt32BE(0)
  if (crc32(prelude.subarray(0, 8)) !== prelude.readUInt32BE(8)) {
    throw new FrameError('the checksum of a prelude is wrong')
  }
  if (bytes > FRAME_BYTES_MAX) throw new FrameError(`a frame of more than ${FRAME_BYTES_MAX} bytes`)
  const leastBytes = PRELUDE_BYTES + prelude.readUInt32BE(4) + CRC_BYTES
  if (bytes < leastBytes) throw new FrameError('the lengths of a frame do not fit')
  return bytes
}

/** Reads one whole frame. Throws FrameError. */
export function readFrame(frame: Buffer): Frame {
  const end = frame.length - CRC_BYTES
  if (crc32(frame.subarray(0, end)) !== frame.readUInt32BE(end)) {
    throw new FrameError('the checksum of a frame is wrong')
  }
  const headersEnd = PRELUDE_BYTES + frame.readUInt32BE(4)
  const headers = new Map<string, string>()
  for (let at = PRELUDE_BYTES; at < headersEnd;) at = readHeader(frame, at, headersEnd, headers)
  return { headers, payload: frame.subarray(headersEnd, end) }
}

function readHeader(
  frame: Buffer,
  from: number,
  end: number,
  headers: Map<string, string>,
): number {
  const nameEnd = from + 1 + (frame[from] ?? 0)
  const name = frame.toString('latin1', from + 1, nameEnd)
  const type = frame[nameEnd] ?? 255
  const isSized = type === STRING_TYPE || type === STRING_TYPE - 1
  const valueStart = nameEnd + (isSized ? 3 : 1)
  const valueBytes = isSized ? frame.readUInt16BE(nameEnd + 1) : (VALUE_BYTES[type] ?? -1)
  const valueEnd = valueStart + valueBytes
  if (valueBytes < 0 || valueEnd > end || headers.has(name)) {
    throw new FrameError('the headers of a frame do not fit')
  }
  if (type === STRING_TYPE) headers.set(name, frame.toString('utf8', valueStart, valueEnd))
  return valueEnd
}

/** The frame with another payload; its headers stay as they are. */
export function withPayload(frame: Buffer, payload: Buffer): Buffer {
  const headBytes = frame.readUInt32BE(4)
  return assemble(frame.subarray(PRELUDE_BYTES, PRELUDE_BYTES + headBytes), payload)
}

/** A frame of string headers and a payload. */
export function writeFrame(headers: Readonly<Record<string, string>>, payload: string): Buffer {
  const head = Buffer.concat(
    Object.entries(headers).map(([name, value]) => {
      const length = Buffer.alloc(3)
      length[0] = STRING_TYPE
      length.writeUInt16BE(Buffer.byteLength(value), 1)
      return Buffer.concat([
        Buffer.from([name.length]),
        Buffer.from(name),
        length,
        Buffer.from(value),
      ])
    }),
  )
  return assemble(head, Buffer.from(payload))
}

function assemble(head: Buffer, body: Buffer): Buffer {
  const bytes = PRELUDE_BYTES + head.length + body.length + CRC_BYTES
  const prelude = Buffer.alloc(PRELUDE_BYTES)
  prelude.writeUInt32BE(bytes, 0)
  prelude.writeUInt32BE(head.length, 4)
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8)
  const frame = Buffer.concat([prelude, head, body])
  const sum = Buffer.alloc(CRC_BYTES)
  sum.writeUInt32BE(crc32(frame), 0)
  return Buffer.concat([frame, sum])
}
