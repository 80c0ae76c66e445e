import type { ExternalDetectorConfig } from '../../config/snapshot.ts'
import { moderation } from './moderation.ts'
import { presidio } from './presidio.ts'

/** Where something is in a text, UTF-16 units, and what the service calls it. */
export interface Span {
  readonly label: string
  readonly start: number
  readonly end: number
}

/** What a service found in one text. */
export interface Findings {
  readonly count: number
  /** Empty where the service does not say where. */
  readonly spans: readonly Span[]
}

/** How one kind of service is asked. Pure. */
export interface Wire {
  /** Put behind the address of the configuration. */
  readonly path: string
  /** The most texts of one question; more are joined. Null where texts are joined anyway. */
  readonly textsMax: number | null
  /** JSON of the question. */
  question(texts: readonly string[]): string
  /** What each text has. Throws NotAnAnswer. */
  findings(answer: unknown, texts: readonly string[]): readonly Findings[]
}

/** The wire format of a detector. */
export function wireOf({ asks }: ExternalDetectorConfig): Wire {
  return asks.kind === 'presidio' ? presidio(asks) : moderation(asks)
}
