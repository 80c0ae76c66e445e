import type { ExternalDetectorConfig } from '../../config/snapshot.ts'
import { moderation } from './moderation.ts'
import { presidio } from './presidio.ts'

/** How one kind of service is asked. Pure. */
export interface Wire {
  /** Put behind the address of the configuration. */
  readonly path: string
  /** The most texts of one question; more are joined. Null where texts are joined anyway. */
  readonly textsMax: number | null
  /** JSON of the question. */
  question(texts: readonly string[]): string
  /** How many findings each text has. Throws NotAnAnswer. */
  findings(answer: unknown, texts: readonly string[]): readonly number[]
}

/** The wire format of a detector. */
export function wireOf({ asks }: ExternalDetectorConfig): Wire {
  return asks.kind === 'presidio' ? presidio(asks) : moderation(asks)
}
