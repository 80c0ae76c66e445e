/** What an inbox needs of the socket it belongs to. */
interface Source {
  pause(): void
  resume(): void
}

/**
 * Messages of one socket, one after the other. While one is worked on the socket is not read; what had
 * arrived with it waits here, at most what one read of the socket brings.
 */
export class Inbox<Message> {
  readonly #source: Source
  readonly #take: (message: Message) => void | Promise<void>
  readonly #fail: (error: unknown) => void
  readonly #waiting: Message[] = []
  #isBusy = false

  /** What `take` fails with is told to `fail`; what came after it is still taken. */
  constructor(
    source: Source,
    take: (message: Message) => void | Promise<void>,
    fail: (error: unknown) => void,
  ) {
    this.#source = source
    this.#take = take
    this.#fail = fail
  }

  push(message: Message): void {
    if (this.#isBusy) return void this.#waiting.push(message)
    this.#isBusy = true
    const work = this.#begin(message)
    if (work === undefined && this.#waiting.length === 0) this.#isBusy = false
    else void this.#finish(work)
  }

  /** Most messages are done with at once, and take no promise. */
  #begin(message: Message): void | Promise<void> {
    try {
      return this.#take(message)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** What `work` is, and then all that waits. */
  async #finish(first: void | Promise<void>): Promise<void> {
    let isPaused = false
    for (let work = first, isOver = false; !isOver;) {
      if (work !== undefined) {
        if (!isPaused) this.#source.pause()
        isPaused = true
        await work.catch((error: unknown) => this.#fail(error))
      }
      const next = this.#waiting.shift()
      isOver = next === undefined
      if (next !== undefined) work = this.#begin(next)
    }
    this.#isBusy = false
    if (isPaused) this.#source.resume()
  }
}
