import type { PolicyResult, UninspectableKind } from './exchange.ts'

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
}

/** Finds the texts of answers. Throws BODY_INVALID for what is not strict JSON. */
export interface AnswerReader {
  /** Only whole answers are read: a policy on the answer refuses streams. */
  readonly wholeOnly?: true
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
