/**
 * A stretch of text as an array of its UTF-16 code units: a loop over it takes a fifth of the time of
 * `charCodeAt`, which asks for every unit what kind of string it is in (0.5 and 2.3 ns, Node 24).
 */

/** Texts up to this are copied unit by unit; the copy of the host costs 150 ns to begin. */
const SHORT_UNITS_MAX = 48

/**
 * Memory that texts take turns in. What is in it holds until the next `fill` and never across a turn
 * of the event loop.
 */
export class Units {
  readonly values: Uint16Array
  readonly #bytes: Buffer

  constructor(capacity: number) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity * 2)
    this.values = new Uint16Array(this.#bytes.buffer, this.#bytes.byteOffset, capacity)
  }

  /**
   * Puts `text` from `from` to `to` at the beginning, as much as there is room and never half a pair;
   * says how many units.
   */
  fill(text: string, from: number, to: number): number {
    let count = Math.min(to - from, this.values.length)
    if (from + count < to && (text.codePointAt(from + count - 1) ?? 0) > 0xffff) count--
    if (count > SHORT_UNITS_MAX) {
      const part = count === text.length ? text : text.slice(from, from + count)
      this.#bytes.write(part, 0, 'utf16le')
    } else {
      for (let i = 0; i < count; i++) this.values[i] = text.charCodeAt(from + i)
    }
    return count
  }

  /** Units `from` to `to` as a string. */
  text(from: number, to: number): string {
    return this.#bytes.toString('utf16le', from * 2, to * 2)
  }
}
