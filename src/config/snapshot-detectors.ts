/** The part of the snapshot about detectors of the file's own. */

/** A detector of the file's own. */
export type DetectorConfig = PatternDetectorConfig | ExternalDetectorConfig

/** A detector that is a pattern. */
export interface PatternDetectorConfig {
  readonly id: string
  /** RE2 pattern, checked at load. */
  readonly matches: string
  /** How sure a match is, 0 to 1. */
  readonly confidence: number
}

/** A detector that is a service, asked over HTTP. */
export interface ExternalDetectorConfig {
  readonly id: string
  readonly external: {
    /** Without a trailing slash. */
    readonly url: string
    /** Resolved secret; null where none is sent. */
    readonly credential: string | null
    readonly timeoutMs: number
    /** The most UTF-16 units of one call that are sent. */
    readonly charsMax: number
    readonly concurrency: number
    /** Texts whose verdict is remembered. */
    readonly cacheTexts: number
    readonly onError: 'allow' | 'deny'
  }
  readonly asks: PresidioQuestion | ModerationQuestion
}

/** What the analyzer of Microsoft Presidio is asked. */
export interface PresidioQuestion {
  readonly kind: 'presidio'
  readonly language: string
  /** Null is every entity the service knows. */
  readonly entities: readonly string[] | null
  /** 0 to 1. */
  readonly scoreMin: number
}

/** What a service with OpenAI's moderations API is asked. */
export interface ModerationQuestion {
  readonly kind: 'openai_moderation'
  readonly model: string
  /** Score by category from which on it counts; null is what the service flags. */
  readonly thresholds: Readonly<Record<string, number>> | null
}
