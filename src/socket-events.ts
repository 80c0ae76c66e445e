import type { GovernorError } from './errors.ts'
import type { Endpoint, Facts, Usage } from './exchange.ts'

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
  readonly facts: Facts
}

/** One event of a provider, as far as a session has to know it. */
export interface ServerEvent {
  readonly type: string
  /** `begins` and `ends` are of a response; `fails` may be of one that never began. */
  readonly kind: 'begins' | 'ends' | 'fails' | 'other'
  /** The response it belongs to; null for events of the session. */
  readonly responseId: string | null
  /** The client's event that an error is about; null where it is not said. */
  readonly eventId: string | null
  /** It repeats what the client sent, or is about the session itself: nothing a model said. */
  readonly isEcho: boolean
  /** What the response took; null until it is said. */
  readonly usage: Usage | null
}

/** How a provider's sessions over WebSocket are read: one value per dialect that has them. */
export interface SocketReader {
  /** The endpoint at a raw path without its query; null where no session is opened. */
  lookup(path: string): Endpoint | null
  /** Query parameters of which exactly one names the model. */
  readonly modelParameters: readonly string[]
  /** Subprotocols that may be offered to the provider. */
  readonly subprotocols: readonly string[]
  /** Beginning of the subprotocol that carries a key, as browsers have to send it. */
  readonly keySubprotocol: string
  /** Endpoint of one event in entries and policies: `api` is the endpoint's and the event's name. */
  eventEndpoint(event: Pick<ClientEvent, 'type' | 'produces'> | null): Endpoint
  /**
   * Strict parse of a client's event. Throws OPERATION_UNKNOWN for one that is not known, BODY_INVALID,
   * FIELD_INVALID, MODEL_INVALID.
   */
  read(event: Buffer, maximums: { readonly jsonDepth: number }): Promise<ClientEvent>
  /** Reads a provider's event; null for what is no JSON object with a type. */
  answer(event: string): ServerEvent | null
  /** JSON of an event that tells the client of an error. */
  errorEvent(error: GovernorError, requestId: string, eventId: string | null): string
  /** Names the event that stops a response, for an error about it is ours and not the client's. */
  readonly cancelEventId: string
  /** JSON of the event that stops a response. */
  cancel(responseId: string): string
}
