import { STRETCH_BYTES } from './steps.ts'

/** Whether a text is JSON, also one of many megabytes, for which `JSON.parse` would hold the loop. */

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d

/** What may come next. */
const WANT = { value: 0, first: 1, key: 2, firstKey: 3, colon: 4, next: 5 } as const

const ESCAPE = /["\\/bfnrt]|u[\dA-Fa-f]{4}/y
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[Ee][+-]?\d+)?|true|false|null/y

/** RFC 8259, of any depth: what `JSON.parse` takes. Gives way every 64 K characters. */
export function* isJson(text: string): Generator<void, boolean> {
  if (text.length <= STRETCH_BYTES) return parses(text)
  const reader = new Reader(text)
  for (let breathAt = STRETCH_BYTES; reader.step();) {
    if (reader.at < breathAt) continue
    breathAt = reader.at + STRETCH_BYTES
    yield
  }
  return reader.isWhole
}

/** The same in one go: for texts that are known to be short. */
export function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Reads token after token. */
class Reader {
  readonly #text: string
  /** The objects (true) and arrays that are open. */
  readonly #open: boolean[] = []
  #want: number = WANT.value
  at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** Whether one value was read, up to the end of the text. */
  get isWhole(): boolean {
    return this.at >= this.#text.length && this.#want === WANT.next && this.#open.length === 0
  }

  /** Reads one token; false at the end and at the first that cannot be there. */
  step(): boolean {
    const text = this.#text
    while (isBlank(text.charCodeAt(this.at))) this.at++
    const unit = text.charCodeAt(this.at)
    switch (this.#want) {
      case WANT.colon:
        return unit === 0x3a && this.#go(this.at + 1, WANT.value)
      case WANT.next:
        return this.#next(unit)
      case WANT.key:
        return unit === QUOTE && this.#go(stringEnd(text, this.at), WANT.colon)
      case WANT.firstKey:
        if (unit === CLOSE_OBJECT) return this.#close()
        return unit === QUOTE && this.#go(stringEnd(text, this.at), WANT.colon)
      default:
        return this.#value(unit)
    }
  }

  #value(unit: number): boolean {
    if (unit === CLOSE_ARRAY && this.#want === WANT.first) return this.#close()
    if (unit === QUOTE) return this.#go(stringEnd(this.#text, this.at), WANT.next)
    if (unit === OPEN_OBJECT || unit === OPEN_ARRAY) {
      this.#open.push(unit === OPEN_OBJECT)
      return this.#go(this.at + 1, unit === OPEN_OBJECT ? WANT.firstKey : WANT.first)
    }
    SCALAR.lastIndex = this.at
    return SCALAR.test(this.#text) && this.#go(SCALAR.lastIndex, WANT.next)
  }

  #next(unit: number): boolean {
    const inObject = this.#open.at(-1)
    if (inObject === undefined) return false
    if (unit === 0x2c) return this.#go(this.at + 1, inObject ? WANT.key : WANT.value)
    return unit === (inObject ? CLOSE_OBJECT : CLOSE_ARRAY) && this.#close()
  }

  #close(): boolean {
    this.#open.pop()
    return this.#go(this.at + 1, WANT.next)
  }

  #go(to: number, want: number): boolean {
    if (to < 0) return false
    this.at = to
    this.#want = want
    return true
  }
}

/** RFC 8259 §2; NaN behind the end. */
function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x0a || unit === 0x0d || unit === 0x09
}

/** Behind the string that begins at `start`; -1 where it is none. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit === QUOTE) return at + 1
    if (unit < 0x20) return -1
    if (unit !== BACKSLASH) continue
    ESCAPE.lastIndex = at + 1
    if (!ESCAPE.test(text)) return -1
    at = ESCAPE.lastIndex - 1
  }
  return -1
}
