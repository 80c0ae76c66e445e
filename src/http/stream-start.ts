/**
 * How what streams are made of begins: lines of events (WHATWG HTML §9.2.6) and JSON. Words that only look
 * like it, as `data is`, `[Music]` or `event:` before a sentence, begin a text.
 */

const MARK = String.raw`^(?:\u00ef\u00bb\u00bf)?\s*`
const SURE = new RegExp(
  `${MARK}(?:\\{\\s*["}]|\\[\\s*[\\]{["]|:|data:\\s*["[{]|data:[ \\t]*[\\r\\n]|` +
    'event: ?[\\w.:-]+[\\r\\n]|id: ?[\\w.:-]*[\\r\\n]|retry: ?\\d+[\\r\\n])',
)
/** What may be it when more has come. */
const MAYBE = new RegExp(
  `^\u00ef\u00bb?$|${MARK}(?:[{[]\\s*|d|da|dat|data|data:[ \\t]*|e|ev|eve|even|event|event: ?[\\w.:-]*|` +
    'i|id|id: ?[\\w.:-]*|r|re|ret|retr|retry|retry: ?\\d*)?$',
)

/** No beginning is longer; what is still open then is a text. */
const START_BYTES_MAX = 256

/**
 * Tells a stream from a text by its first bytes, whatever pieces they come in; these are held until it is
 * known, which for a text that does not begin like a stream is with its first letter.
 */
export class StreamStart {
  #held: Buffer = Buffer.alloc(0)

  /** Takes the next bytes; true for a stream, false for a text, null while nobody can tell. */
  look(bytes: Buffer): boolean | null {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    const start = this.#held.toString('latin1', 0, START_BYTES_MAX)
    if (SURE.test(start)) return true
    return start.length < START_BYTES_MAX && MAYBE.test(start) ? null : false
  }

  /** Nothing follows: an answer without a byte is a stream that never began. */
  end(): boolean {
    return this.#held.length === 0
  }

  /** All bytes that were looked at, once. */
  take(): Buffer {
    const held = this.#held
    this.#held = Buffer.alloc(0)
    return held
  }
}
