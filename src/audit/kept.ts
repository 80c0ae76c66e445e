import { isUtf8 } from 'node:buffer'

import type { KeptContent } from '../nouns/answer.ts'
import type { SealedText } from './personal.ts'

/** The most that is kept of a prompt, and of an answer, bytes. */
export const KEPT_BYTES_MAX = 128 * 1024
const FIRST_BYTES = 4096
/** Bytes a character of UTF-8 may lack at its end when it is cut. */
const CUT_BYTES = 3

/**
 * What is kept of one call with `audit.content: full`: the beginning of the body that was forwarded, and of
 * the answer as the client got it, streamed or whole. Bytes are copied, since small chunks would keep the
 * large buffers alive that they were read into.
 */
export class Kept implements KeptContent {
  readonly #prompt: Buffer
  #answer = Buffer.alloc(0)
  #bytes = 0
  #answerBytes = 0

  /** `prompt` is the body as it goes on. */
  constructor(prompt: Buffer) {
    this.#prompt = prompt
  }

  take(bytes: Buffer): void {
    this.#answerBytes += bytes.length
    const room = KEPT_BYTES_MAX - this.#bytes
    if (room === 0 || bytes.length === 0) return
    const more = bytes.subarray(0, room)
    this.#reserve(this.#bytes + more.length)
    more.copy(this.#answer, this.#bytes)
    this.#bytes += more.length
  }

  /** Of the decision; null for a call without a body. */
  get prompt(): SealedText | null {
    return textOf('prompt', this.#prompt.subarray(0, KEPT_BYTES_MAX), this.#prompt.length)
  }

  /** Of the outcome; null where nothing was answered. */
  get answer(): SealedText | null {
    return textOf('answer', this.#answer.subarray(0, this.#bytes), this.#answerBytes)
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#answer.length) return
    const size = Math.min(KEPT_BYTES_MAX, Math.max(FIRST_BYTES, this.#answer.length * 2, bytes))
    const larger = Buffer.allocUnsafeSlow(size)
    this.#answer.copy(larger, 0, 0, this.#bytes)
    this.#answer = larger
  }
}

/** Text as it is; of anything else, such as speech, only that it was there. */
function textOf(name: SealedText['name'], kept: Buffer, bytes: number): SealedText | null {
  if (bytes === 0) return null
  const whole = kept.length === bytes ? kept : wholeCharacters(kept)
  if (!isUtf8(whole)) return { name, bytes, keptBytes: 0, value: '' }
  return { name, bytes, keptBytes: whole.length, value: whole.toString('utf8') }
}

/** Without the beginning of a character at its end. */
function wholeCharacters(cut: Buffer): Buffer {
  for (let missing = 0; missing <= CUT_BYTES; missing++) {
    const shorter = cut.subarray(0, cut.length - missing)
    if (isUtf8(shorter)) return shorter
  }
  return cut
}
