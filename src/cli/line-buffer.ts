/** Text collected into pieces of about 64 KiB: a system call a line costs more than making the line. */

const BYTES = 64 * 1024
/** In UTF-8, of a UTF-16 unit at worst. */
const BYTES_A_CHAR_MAX = 3

/**
 * Collects whole lines; `flush` writes what is left. They are copied as they come: held as strings until
 * they are written they outlive a collection or two, and V8 makes the heap larger for them, the more the
 * longer the export.
 */
export class LineBuffer {
  readonly #write: (text: string) => void
  readonly #bytes = Buffer.allocUnsafeSlow(BYTES)
  #used = 0

  constructor(write: (text: string) => void) {
    this.#write = write
  }

  readonly add = (text: string): void => {
    const bytesMax = text.length * BYTES_A_CHAR_MAX
    if (bytesMax > BYTES - this.#used) this.flush()
    if (bytesMax > BYTES) this.#write(text)
    else this.#used += this.#bytes.write(text, this.#used)
  }

  flush(): void {
    if (this.#used > 0) this.#write(this.#bytes.toString('utf8', 0, this.#used))
    this.#used = 0
  }
}
