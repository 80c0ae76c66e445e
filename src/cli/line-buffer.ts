/** Text collected into pieces of 64 KiB: a system call a line costs more than making the line. */

const CHARS_MAX = 64 * 1024

/** Collects whole lines; `flush` writes what is left. */
export class LineBuffer {
  readonly #write: (text: string) => void
  #text = ''

  constructor(write: (text: string) => void) {
    this.#write = write
  }

  readonly add = (text: string): void => {
    this.#text += text
    if (this.#text.length >= CHARS_MAX) this.flush()
  }

  flush(): void {
    if (this.#text !== '') this.#write(this.#text)
    this.#text = ''
  }
}
