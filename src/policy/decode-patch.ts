/** A part of a text, and how it reads; UTF-16 units, end exclusive. */
export interface Patch {
  readonly start: number
  readonly end: number
  readonly text: string
  /** It reads as something of its own, whatever stands before and behind it. */
  readonly isApart: boolean
}

/** Takes what a text has encoded, in its order; no two overlap. */
export interface Patches {
  add(patch: Patch): void
}
