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
  readonly #waiting: Message[] = []
  #isBusy = false

  /** `take` never rejects. */
  constructor(source: Source, take: (message: Message) => void | Promise<void>) {
    this.#source = source
    this.#take = take
  }

  push(message: Message): void {
    this.#waiting.push(message)
    if (!this.#isBusy) void this.#work()
  }

  async #work(): Promise<void> {
    this.#isBusy = true
    let isPaused = false
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const work = this.#take(next)
      if (work === undefined) continue
      if (!isPaused) this.#source.pause()
      isPaused = true
      await work
    }
    this.#isBusy = false
    if (isPaused) this.#source.resume()
  }
}
