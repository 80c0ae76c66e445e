const MASKED = '[redacted]'
const MASK = Buffer.from(MASKED)
const EMPTY = Buffer.alloc(0)

const BACKSLASH = 0x5c

/**
 * Takes our credential out of what an upstream says: error texts echo it. Looks for the literal
 * bytes, also across chunks: a chunk that ends with a beginning of the secret is held back by that
 * many bytes, which in an event stream never happens.
 */
export class Scrubber {
  readonly #secret: Buffer
  readonly #secretText: string
  #held: Buffer = EMPTY

  constructor(secret: string) {
    this.#secret = Buffer.from(secret)
    this.#secretText = secret
  }

  /** A header value. */
  text(value: string): string {
    return value.includes(this.#secretText) ? value.replaceAll(this.#secretText, MASKED) : value
  }

  /** The whole of a body; the same buffer when the secret is not in it. */
  whole(body: Buffer): Buffer {
    return body.includes(this.#secret) ? replaceAll(body, this.#secret) : body
  }

  /**
   * The whole of an error, which is where keys are echoed: as `whole`, and also where characters of
   * the secret are written as JSON escapes (RFC 8259 §7: `\u002d`, `\/`).
   */
  wholeError(body: Buffer): Buffer {
    const clean = this.whole(body)
    if (!clean.includes(BACKSLASH)) return clean
    const text = clean.toString()
    const found = text.replaceAll(escapedSpellings(this.#secretText), MASKED)
    return found === text ? clean : Buffer.from(found)
  }

  /** The next bytes of a stream; returns those that may go on now. */
  chunk(bytes: Buffer): Buffer {
    const joined = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    const clean = this.whole(joined)
    const keep = overlap(clean, this.#secret)
    this.#held = keep === 0 ? EMPTY : clean.subarray(clean.length - keep)
    return keep === 0 ? clean : clean.subarray(0, clean.length - keep)
  }

  /** What is still held when the stream ends. */
  flush(): Buffer {
    const held = this.#held
    this.#held = EMPTY
    return held
  }
}

/** Matches every way to write `secret` inside a JSON string; one way on at each character. */
function escapedSpellings(secret: string): RegExp {
  const units = secret.split('').map((unit) => {
    const hex = unit.charCodeAt(0).toString(16).padStart(4, '0')
    const anyCase = hex.replaceAll(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)
    const literal = /[\w]/.test(unit) ? unit : `\\u${hex}`
    const short = '"\\/'.includes(unit) ? `|\\\\\\u${hex}` : ''
    return `(?:${literal}|\\\\u${anyCase}${short})`
  })
  return new RegExp(units.join(''), 'g')
}

function replaceAll(body: Buffer, secret: Buffer): Buffer {
  const parts: Buffer[] = []
  let from = 0
  for (let at = body.indexOf(secret); at !== -1; at = body.indexOf(secret, from)) {
    parts.push(body.subarray(from, at), MASK)
    from = at + secret.length
  }
  parts.push(body.subarray(from))
  return Buffer.concat(parts)
}

/** How many bytes at the end of `bytes` could be the beginning of `secret`. */
function overlap(bytes: Buffer, secret: Buffer): number {
  const longest = Math.min(bytes.length, secret.length - 1)
  for (let length = longest; length > 0; length--) {
    // The first byte settles nearly every case without a comparison.
    if (bytes[bytes.length - length] !== secret[0]) continue
    const start = bytes.length - length
    if (bytes.compare(secret, 0, length, start, bytes.length) === 0) return length
  }
  return 0
}
