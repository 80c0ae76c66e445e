import type { GovernorError } from '../errors.ts'
import type { Endpoint, Facts, Usage } from '../exchange.ts'

/** The nouns of a session over WebSocket. Plain data, no sockets. */

/** One event of a client, as inspected. */
export interface ClientEvent {
  /** Its name; closed. */
  readonly type: string
  /** Chosen by the client; null when it sent none. */
  readonly eventId: string | null
  /** Whether the provider answers it with what a model produces. */
  readonly produces: boolean
  /** A piece of audio and not a word beside it: what was decided of the last one holds for it. */
  readonly isAudioOnly: boolean
  /** Which of several conversations on one socket it belongs to; absent where there is one. */
  readonly lane?: string
  /** The response that it goes on from, which may be one of this session; absent where none. */
  readonly follows?: { readonly responseId: string; readonly pointer: string }
  readonly facts: Facts
}

/** One event of a provider, as far as a session has to know it. */
export interface ServerEvent {
  readonly type: string
  /** A response begins with it. */
  readonly begins: boolean
  /** The response ends with it; one that comes whole begins and ends at once. */
  readonly ends: boolean
  /** It tells of an error; of a response that never began, maybe. */
  readonly fails: boolean
  /** It says of input that was added to a response whether that was taken; absent where it does not. */
  readonly answersInput?: boolean
  /** It brings words that a model wrote. */
  readonly isText: boolean
  /** The response it belongs to; null for events of the session. */
  readonly responseId: string | null
  /** As of the client's event; absent where there is one conversation. */
  readonly lane?: string
  /** The client's event that an error is about; null where it is not said. */
  readonly eventId: string | null
  /** It repeats what the client sent, or is about the session itself: nothing a model said. */
  readonly isEcho: boolean
  /** It brings a piece of what was spoken; absent where that cannot come after its response. */
  readonly isTranscript?: boolean
  /** It belongs to a response that has ended, and is the last of it or goes on; absent elsewhere. */
  readonly trails?: 'on' | 'last'
  /** What the response took; null until it is said. */
  readonly usage: Usage | null
}

/** Reads a provider's event; null for what is no event. Never throws. */
export type AnswerEvents = (event: Readonly<Record<string, unknown>>) => ServerEvent | null

/** What an error that a client is told of is about. */
export interface ErrorContext {
  readonly requestId: string
  /** The client's event; null where it named none. */
  readonly eventId: string | null
  /** Nothing more will come of what the client waits for. */
  readonly endsTurn: boolean
}

/** Where clients that cannot set headers put the key of a session. */
export interface KeyPlaces {
  /** Query parameter that carries a key, as this provider's clients send it; '' for none. */
  readonly keyParameter: string
  /** Beginning of the subprotocol that carries a key, as browsers have to send it; '' for none. */
  readonly keySubprotocol: string
}

/** How a provider's sessions over WebSocket are read: one value per kind of session a dialect has. */
export interface SocketReader extends KeyPlaces {
  /** Raw paths, without a query, at which a session is opened. */
  readonly paths: ReadonlySet<string>
  /** The endpoint there. */
  readonly endpoint: Endpoint
  /** Query parameters of which exactly one names the model; none where the first message does. */
  readonly modelParameters: readonly string[]
  /**
   * What the first message of a client is where it names the model: the `setup` of the session, sent
   * on with what policies make of it, or its first `event`. Absent where the query names the model.
   */
  readonly first?: 'setup' | 'event'
  /** Subprotocols that may be offered to the provider. */
  readonly subprotocols: readonly string[]
  /** Messages that a client may send after the first, by their names. */
  readonly events: ReadonlySet<string>
  /** Endpoint of one event in entries and policies. */
  eventEndpoint(event: Pick<ClientEvent, 'type' | 'produces'> | null): Endpoint
  /**
   * Strict parse of a client's event. Throws OPERATION_UNKNOWN for one that is not known, BODY_INVALID,
   * FIELD_INVALID, MODEL_INVALID.
   */
  read(event: Buffer, maximums: { readonly jsonDepth: number }): Promise<ClientEvent>
  /**
   * Whether `read` would say `isAudioOnly` of an event, found out at once in its bytes; false where that
   * takes a parser. Absent where it always does.
   */
  isPlainAudio?(event: Buffer): boolean
  /** Whether every model a session was asked for answers its later events. */
  readonly keepsModels: boolean
  /** A reader of the events of one session. */
  answers(): AnswerEvents
  /** Whether a response answers all that was asked before it, not the oldest of it. */
  readonly answersAll: boolean
  /** The provider's events may be binary messages. */
  readonly sendsBinary: boolean
  /** JSON of an event that tells the client of an error. */
  errorEvent(error: GovernorError, about: ErrorContext): string
  /** What a client would have sent for a response that the provider began by itself. */
  readonly implied: Buffer
  /** Names the event that stops a response, for an error about it is ours and not the client's. */
  readonly cancelEventId: string
  /** JSON of the event that stops a response; null where there is none: it is heard to its end. */
  cancel(responseId: string): string | null
}
