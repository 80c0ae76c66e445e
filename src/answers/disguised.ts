/** Streams of events that came as a text: a server that is asked for a whole answer may send one all the same. */
import type { Framing } from '../nouns/answer.ts'

const TEXT_TYPE = /^text\//i

/**
 * Whether a whole answer is a stream by its type, or is some type of text and reads as one. Clients read pieces
 * of one text out of it, so that a look at it as one text would miss what is cut between two of them.
 */
export function readsAsEvents(framing: Framing, body: Buffer, contentType: string): boolean {
  const { type, sign } = framing
  if (type.test(contentType)) return true
  // The signs are ASCII, and no other byte of UTF-8 can be taken for one.
  return sign !== undefined && TEXT_TYPE.test(contentType) && sign.test(body.toString('latin1'))
}
