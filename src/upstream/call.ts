import type { Dispatcher } from 'undici'

import { GovernorError } from '../errors.ts'
import { type Fault, upstreamError } from './fault.ts'

type Controller = Dispatcher.DispatchController
/** Headers of an answer, lower-case names, as undici gives them. */
export type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>

/** Where the bytes of an answer go. `write` returns false when it wants no more until `resume`. */
export interface Sink {
  write(chunk: Buffer): boolean
  end(): void
  fail(error: GovernorError): void
}

/** An answer as it begins: either all of it, or a stream that waits for its sink. */
export interface Answer {
  readonly status: number
  readonly headers: AnswerHeaders
  /** The whole body, when it was small and no event stream. */
  readonly whole: Buffer | null
  /** Lets the body flow; only when `whole` is null, and once. */
  pipe(sink: Sink): void
  resume(): void
  abort(): void
}

/**
 * Answers up to this size are collected and written once, which costs 86–96 µs of CPU a request
 * where a write per chunk costs 122–148; larger ones and event streams flow.
 */
export const COLLECTED_BYTES_MAX = 256 * 1024

/** Informational answers that one call may bring; more than these is an upstream that never answers. */
const INFORMATIONAL_MAX = 32

/** Where faults of upstreams are counted. */
export interface Faults {
  inc(labels: { readonly upstream: string; readonly fault: Fault }): void
}

/** A list of models is looked at before it goes on, so that all of it is collected. */
export const LIST_BYTES_MAX = 8 * 1024 * 1024

/** The bounds of one call, and who is told how it went. */
export interface CallOptions {
  /** Answers up to this size are collected, unless they are streams. */
  readonly collectedBytesMax: number
  /** The request asked for a stream: a good answer then flows, whatever it calls itself. */
  readonly stream: boolean
  /** How long informational answers may go on before the answer itself begins. */
  readonly firstByteMs: number
  /** Its name, and where its faults are counted. */
  readonly upstream: string
  readonly faults: Faults
  /** Called once when the answer has ended, however it did. */
  readonly onEnd: (() => void) | null
}

/** One request at an upstream: undici's handler on one side, a promise and a sink on the other. */
export class UpstreamCall implements Dispatcher.DispatchHandler, Answer {
  status = 0
  headers: AnswerHeaders = {}
  whole: Buffer | null = null
  readonly answer: Promise<Answer>
  readonly #options: CallOptions
  #resolve!: (answer: Answer) => void
  #reject!: (error: GovernorError) => void
  #controller: Controller | null = null
  #chunks: Buffer[] = []
  #chunkBytes = 0
  #sink: Sink | null = null
  #flowing = false
  #ended = false
  #failure: GovernorError | null = null
  #aborted = false
  #left = false
  #informational = 0
  #informationalDeadline: NodeJS.Timeout | undefined

  constructor(options: CallOptions) {
    this.#options = options
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller
    if (this.#aborted) controller.abort(new GovernorError('CLIENT_CLOSED'))
  }

  onResponseStart(_controller: Controller, status: number, headers: AnswerHeaders): void {
    // Informational answers (RFC 9110 §15.2) are between us and the upstream.
    if (status < 200) {
      this.#informed()
      return
    }
    if (this.#informational > 0) clearTimeout(this.#informationalDeadline)
    this.status = status
    this.headers = headers
    const type = String(headers['content-type'] ?? '').toLowerCase()
    const isEvents = type.startsWith('text/event-stream')
    if (isEvents || (this.#options.stream && status < 204)) this.#flow()
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#sink !== null) {
      if (!this.#sink.write(chunk)) controller.pause()
      return
    }
    this.#chunks.push(chunk)
    this.#chunkBytes += chunk.length
    if (this.#flowing) controller.pause()
    else if (this.#chunkBytes > this.#options.collectedBytesMax) {
      controller.pause()
      this.#flow()
    }
  }

  onResponseEnd(): void {
    this.#ended = true
    this.#leave()
    if (this.#sink !== null) this.#sink.end()
    else if (!this.#flowing) {
      this.whole =
        this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#chunkBytes)
      this.#resolve(this)
    }
  }

  onResponseError(_controller: Controller, cause: Error): void {
    if (cause instanceof GovernorError) {
      this.#fail(cause)
      return
    }
    const { error, fault } = upstreamError(cause)
    this.#fault(fault)
    this.#fail(error)
  }

  pipe(sink: Sink): void {
    this.#sink = sink
    let wantsMore = true
    for (const chunk of this.#chunks) wantsMore = sink.write(chunk)
    this.#chunks = []
    if (this.#failure !== null) sink.fail(this.#failure)
    else if (this.#ended) sink.end()
    else if (wantsMore) this.resume()
  }

  resume(): void {
    if (this.#controller?.paused === true) this.#controller.resume()
  }

  /** The client left or the call was cut while the answer had not begun. */
  interrupt(error: GovernorError): void {
    this.abort(error)
  }

  /** Ends the call because nobody waits for it any more. Safe at any time, also before it began. */
  abort(reason = new GovernorError('CLIENT_CLOSED')): void {
    this.#aborted = true
    if (!this.#ended) this.#controller?.abort(reason)
    this.#fail(reason)
  }

  /** Each informational answer starts the wait for headers anew, so they have a wait of their own. */
  #informed(): void {
    const giveUp = (): void => {
      this.#fault('timeout')
      this.abort(
        new GovernorError('UPSTREAM_TIMEOUT', { detail: 'only informational answers came' }),
      )
    }
    this.#informational += 1
    if (this.#informational > INFORMATIONAL_MAX) giveUp()
    else this.#informationalDeadline ??= setTimeout(giveUp, this.#options.firstByteMs)
  }

  #fault(fault: Fault): void {
    const { upstream, faults } = this.#options
    faults.inc({ upstream, fault })
  }

  #flow(): void {
    this.#flowing = true
    this.#resolve(this)
  }

  #leave(): void {
    if (this.#left) return
    this.#left = true
    this.#options.onEnd?.()
  }

  #fail(error: GovernorError): void {
    this.#leave()
    if (this.#failure !== null || (this.#ended && this.#sink !== null)) return
    this.#failure = error
    if (this.#informational > 0) clearTimeout(this.#informationalDeadline)
    this.#reject(error)
    this.#sink?.fail(error)
  }
}
