import { SseSplitter } from '../dialect/sse.ts'
import { GovernorError } from '../errors.ts'
import type { Framing } from '../nouns/answer.ts'
import type { Answer, AnswerHeaders, Sink } from '../upstream/call.ts'

type Splitter = Framing['splitter']
const events: Splitter = (sink) => new SseSplitter(sink)

/** What looks at the events of a stream before they go on. */
export interface EventWatch {
  /** Null where the event may go on at once; else when it may. Rejects with a GovernorError. */
  event(bytes: Buffer): Promise<void> | null
  /** The same of the first part of an event that is too long to be held. Throws a GovernorError. */
  start(bytes: Buffer): Promise<void> | null
}

/** What goes on only when something is written down. */
interface Claim {
  readonly until: Promise<void>
}

/**
 * A stream of events of which none goes on before `watch` lets it: the stream stands still meanwhile, and
 * waits in the upstream's socket. Bytes are never changed. `begun` resolves when the first event may go
 * on, so that until then the whole call can still be refused.
 */
export class HeldAnswer implements Answer {
  readonly status: number
  readonly headers: AnswerHeaders
  readonly whole = null
  readonly begun: Promise<void>
  readonly #inner: Answer
  readonly #watch: EventWatch
  readonly #splitter: ReturnType<Splitter>
  #begin!: () => void
  #refuse!: (error: GovernorError) => void
  #sink: Sink | null = null
  /** What waits: bytes, or that an event before the next ones has to be let go first. */
  #queue: (Buffer | Claim)[] = []
  #isWaiting = false
  #isInPart = false
  #sinkWantsMore = true
  #ended = false
  #isDone = false
  #failure: GovernorError | null = null

  /** `split`: where an event ends; absent: as in event streams of the web. */
  constructor(inner: Answer, watch: EventWatch, split: Splitter = events) {
    this.#splitter = split({
      event: (bytes) => this.#take(bytes, this.#watch.event(bytes)),
      part: (bytes, last) => this.#part(bytes, last),
    })
    this.#inner = inner
    this.#watch = watch
    this.status = inner.status
    this.headers = inner.headers
    this.begun = new Promise((resolve, reject) => {
      this.#begin = resolve
      this.#refuse = reject
    })
    inner.pipe({
      write: (chunk) => this.#write(chunk),
      end: () => this.#end(),
      fail: (error) => this.#fail(error),
    })
  }

  pipe(sink: Sink): void {
    this.#sink = sink
    if (this.#failure !== null) sink.fail(this.#failure)
    else this.#pass()
  }

  resume(): void {
    this.#sinkWantsMore = true
    this.#pass()
  }

  abort(): void {
    this.#inner.abort()
  }

  #write(chunk: Buffer): boolean {
    this.#attempt(() => this.#splitter.push(chunk))
    this.#pass()
    return this.#flows
  }

  get #flows(): boolean {
    if (this.#isWaiting) return false
    return this.#sink === null ? this.#queue.length === 0 : this.#sinkWantsMore
  }

  #part(bytes: Buffer, last: boolean): void {
    const isFirst = !this.#isInPart
    this.#isInPart = !last
    this.#take(bytes, isFirst ? this.#watch.start(bytes) : null)
  }

  #take(bytes: Buffer, until: Promise<void> | null): void {
    if (until !== null) {
      until.catch(() => {})
      this.#queue.push({ until })
    }
    this.#queue.push(bytes)
  }

  #end(): void {
    this.#attempt(() => {
      const rest = this.#splitter.rest()
      if (rest.length > 0) this.#take(rest, this.#watch.event(rest))
    })
    this.#ended = true
    this.#pass()
  }

  /** Sends what may go on. */
  #pass(): void {
    while (!this.#isWaiting && this.#failure === null) {
      const [next] = this.#queue
      if (next === undefined) break
      if (!Buffer.isBuffer(next)) {
        this.#queue.shift()
        void this.#wait(next)
        return
      }
      this.#begin()
      if (this.#sink === null || !this.#sinkWantsMore) return
      this.#queue.shift()
      this.#sinkWantsMore = this.#sink.write(next)
    }
    this.#close()
  }

  async #wait({ until }: Claim): Promise<void> {
    this.#isWaiting = true
    try {
      await until
      this.#isWaiting = false
    } catch (error) {
      this.#isWaiting = false
      // First of all: ending the call tells of a client that left.
      this.#fail(GovernorError.from(error))
      this.#inner.abort()
    }
    this.#pass()
  }

  /** Everything that came has gone on. */
  #close(): void {
    const isOver = this.#isDone || this.#failure !== null
    if (isOver || this.#isWaiting || this.#queue.length > 0) return
    if (!this.#ended) {
      if (this.#flows) this.#inner.resume()
      return
    }
    this.#begin()
    if (this.#sink === null) return
    this.#isDone = true
    this.#sink.end()
  }

  #fail(error: GovernorError): void {
    if (this.#failure !== null || this.#isDone) return
    this.#failure = error
    this.#queue = []
    this.#refuse(error)
    this.#sink?.fail(error)
  }

  #attempt(act: () => void): void {
    try {
      act()
    } catch (error) {
      this.#fail(GovernorError.from(error))
      this.#inner.abort()
    }
  }
}

/**
 * All of an answer that is no stream, as one that came whole. Rejects with UPSTREAM_FAILED for one longer
 * than `bytesMax`, and with what the upstream failed with.
 */
export async function collected(answer: Answer, bytesMax: number): Promise<Answer> {
  if (answer.whole !== null) return answer
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let bytes = 0
  answer.pipe({
    write(chunk) {
      bytes += chunk.length
      if (bytes <= bytesMax) chunks.push(chunk)
      else {
        const detail = `its answer is longer than ${bytesMax} bytes, and has to be read whole`
        reject(new GovernorError('UPSTREAM_FAILED', { detail }))
        answer.abort()
      }
      return true
    },
    end: () => resolve(Buffer.concat(chunks, bytes)),
    fail: reject,
  })
  return withBody(answer, await promise)
}

/** The same answer with another body. */
export function withBody(answer: Answer, whole: Buffer): Answer {
  const { status, headers } = answer
  return {
    status,
    headers,
    whole,
    pipe: (sink) => answer.pipe(sink),
    resume: () => answer.resume(),
    abort: () => answer.abort(),
  }
}
