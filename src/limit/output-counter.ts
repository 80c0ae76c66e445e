const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const LOWER_U = 0x75
const KEY_BYTES_MAX = 32
/** What `\u4f60` stands for takes three bytes of UTF-8, mostly. */
const UNICODE_BYTES = 3

/** Members whose strings a model wrote, in the answers of all dialects. */
const WRITTEN: ReadonlySet<string> = new Set([
  'content',
  'delta',
  'text',
  'arguments',
  'reasoning_content',
  'reasoning',
  'refusal',
  'thinking',
  'tool_plan',
  'partial_json',
  'response',
])
/** Streams that repeat each part whole after its pieces; only the pieces count. */
const PIECES: ReadonlySet<string> = new Set(['delta'])

/**
 * Counts the bytes of text a model wrote, in a JSON answer or an event stream, split anywhere. It
 * knows only strings and the keys before them, so it costs a look at each byte; it is used where a
 * limit is about tokens or cost, for answers that end before they report usage. Never throws.
 */
export class OutputCounter {
  bytes = 0
  readonly #written: ReadonlySet<string>
  #inString = false
  /** Just after a backslash; then how many digits of `\uXXXX` are still to come. */
  #escaped = false
  #digits = 0
  /** The last string, as far as a key may be long. */
  #last = ''
  #key = ''
  #counts = false

  /** `repeats` for a stream that says its parts again, whole, as OpenAI's responses do. */
  constructor(repeats: boolean) {
    this.#written = repeats ? PIECES : WRITTEN
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (this.#inString) this.#inside(byte)
      else if (byte === QUOTE) this.#open()
      else if (byte === COLON) this.#key = this.#last
      else if (byte > 0x20) this.#outside(byte)
    }
  }

  #open(): void {
    this.#inString = true
    this.#last = ''
    this.#counts = this.#written.has(this.#key)
  }

  /** A comma or a brace ends what a key is about; `data` before the first one is no string. */
  #outside(byte: number): void {
    if (byte === 0x2c || byte === 0x7b || byte === 0x7d) this.#key = ''
    this.#last = ''
  }

  #inside(byte: number): void {
    if (this.#digits > 0) this.#digits--
    else if (this.#escaped) {
      this.#escaped = false
      if (byte === LOWER_U) this.#digits = 4
      if (this.#counts) this.bytes += byte === LOWER_U ? UNICODE_BYTES : 1
    } else if (byte === BACKSLASH) this.#escaped = true
    // A line end cannot be in a JSON string: what was cut short goes on with the next event.
    else if (byte === QUOTE || byte === 0x0a) this.#inString = false
    else if (this.#counts) this.bytes++
    else if (this.#last.length < KEY_BYTES_MAX) this.#last += String.fromCharCode(byte)
  }
}
