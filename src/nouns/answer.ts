import type { PolicyResult, UninspectableKind } from '../exchange.ts'

/** The nouns of an answer that policies look at. Plain data, no sockets. */

/** A text of an answer, or of one event of a streamed one. */
export interface AnswerText {
  readonly text: string
  /** Bytes of its JSON token, quotes included, or of what is replaced in its place. */
  readonly start: number
  readonly end: number
  /**
   * `text` is edited in place, `json` (arguments of a tool call) as well but never in pieces; `tokens`
   * (log probabilities) spell a text once more and are emptied as a whole; a `key`, or what somebody
   * signed, is `fixed`: never edited.
   */
  readonly kind: 'text' | 'json' | 'tokens' | 'fixed'
  /** Names the text that this is the next piece of; null where it is complete. */
  readonly channel: string | null
  /** Whether the model says it for the first time here. */
  readonly isSaid: boolean
}

/** What is in an answer, or in one event of a streamed one. */
export interface AnswerContent {
  readonly texts: readonly AnswerText[]
  /** Indexes of texts that a reader sees joined. */
  readonly joined: readonly (readonly number[])[]
  /** The first content that cannot be read here; null when there is none. */
  readonly uninspectable: UninspectableKind | null
}

/** One event of a streamed answer. */
export interface AnswerEvent extends AnswerContent {
  /** Channels that end here, by the beginning of their names; `''` is all of them. */
  readonly closes: readonly string[]
  /** Events of one lane stay in order; one of no lane waits for none. */
  readonly lanes: readonly string[]
  /** Index of the block of text that it is of, where texts of blocks are one, in the order of these. */
  readonly block?: number
}

/** An event of a stream, taken apart by the bytes. */
export interface EventParts {
  /** What a reader reads; empty where there is nothing to. */
  readonly data: Buffer
  /** Offset of `data` in the event; -1 where it does not stand there as it is. */
  readonly at: number
  /** Everything else that somebody could have written something into. */
  readonly rest: string
}

/** Receives what a splitter cuts. A buffer may be kept, it is not written to again. */
export interface EventSink {
  /** A whole event, with what ends it. */
  event(bytes: Buffer): void
  /** The next bytes of an event too long to hold; `isLast` with its end. */
  part(bytes: Buffer, isLast: boolean): void
}

/** How the events of a stream are cut, taken apart and put together. */
export interface Framing {
  /** Media type of streams that are framed so. */
  readonly type: RegExp
  /** In bytes, as Latin-1, that call themselves a text: says that they are such a stream; absent where none can be. */
  readonly sign?: RegExp
  /** Cuts bytes into events, the same however they arrive; `rest` is what is left at the end. */
  splitter(sink: EventSink): { push(chunk: Buffer): void; rest(): Buffer }
  /** Null for what is no event that is known. */
  parts(event: Buffer): EventParts | null
  /** The event with other data in place of its own. */
  withData(event: Buffer, parts: EventParts, other: Buffer): Buffer
}

/** Finds the texts of answers. Throws BODY_INVALID for what is not strict JSON. */
export interface AnswerReader {
  /** How events are cut out of a stream; absent: as event streams of the web are. */
  readonly framing?: Framing
  /**
   * Where the events end of a stream that came as one JSON array, offsets in `body`; null where it is
   * something else. Absent where no endpoint answers so.
   */
  listed?(body: Buffer): readonly number[] | null
  /** A whole answer that is a JSON object; yields. */
  whole(body: Buffer, maximums: { readonly jsonDepth: number }): Generator<unknown, AnswerContent>
  /** The data of one event; the offsets are those of `data`. */
  event(data: Buffer, api: string, maximums: { readonly jsonDepth: number }): AnswerEvent
  /** What else a text can be read as, JSON escapes in it decoded. */
  readings(text: string): readonly string[]
}

/** What policies made of an answer; complete once it has ended. */
export interface AnswerVerdict {
  /** Those that found something. */
  readonly policies: readonly PolicyResult[]
  /** Different values found, by detector. */
  readonly detected: Readonly<Record<string, number>>
  /** Whether parts of the answer were masked. */
  readonly changed: boolean
}

/** What the audit keeps of a call's content; `audit/kept.ts` makes it. */
export interface KeptContent {
  /** The next bytes of the answer as the client gets it. */
  take(bytes: Buffer): void
}
