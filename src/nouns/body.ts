/** A request body after decoding, exactly the bytes that are inspected. */
export interface Body {
  readonly bytes: Buffer
  /** True when a content encoding was removed. */
  readonly decoded: boolean
  /** Bytes as they came over the wire, before decoding. */
  readonly receivedBytes: number
  /** SHA-256, hex, of the bytes as they came over the wire. */
  readonly receivedSha256: string
  /** What sets the parts of a multipart/form-data body apart; absent where the body is JSON. */
  readonly boundary?: string
  /** Of a form on disk: where the content of the files is that `bytes` lacks. */
  readonly spooled?: SpooledForm
}

/** A file on disk. */
export interface Spooled {
  readonly bytes: number
  read(start: number, end: number): Promise<Buffer>
}

/** A form whose large files are on disk, and empty in the bytes that are held. */
export interface SpooledForm {
  /** All of it, as received. */
  readonly file: Spooled
  readonly holes: readonly Hole[]
}

/** The content of a part that is left out. */
export interface Hole {
  /** Which part, counted from 0. */
  readonly part: number
  /** Its first byte in the file. */
  readonly start: number
  /** How many; at least one. */
  readonly bytes: number
}

/** How a body is to be read. */
export interface Reading {
  readonly jsonDepth: number
  /** As in `Body`. */
  readonly boundary?: string
  /** As in `SpooledForm`. */
  readonly holes?: readonly Hole[]
}
