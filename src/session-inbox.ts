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
    this.#waiting.push(message)
    if (!this.#isBusy) void this.#work()
  }

  async #work(): Promise<void> {
    this.#isBusy = true
    let isPaused = false
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      try {
        const work = this.#take(next)
        if (work === undefined) continue
        if (!isPaused) this.#source.pause()
        isPaused = true
        await work
      } catch (error) {
        this.#fail(error)
      }
    }
    this.#isBusy = false
    if (isPaused) this.#source.resume()
  }
}
