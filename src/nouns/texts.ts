/** The strings of a body, and edits of them. Plain data, no bytes but through what made it. */

/** Every inspectable string of a body: all values and all keys, in document order. */
export interface Texts {
  readonly values: readonly string[]
  /** JSON pointer (RFC 6901) of the text at `index`; for a key, of its member followed by `#key`. */
  pointer(index: number): string
  /**
   * Plain ASCII that contains every value, set apart by quotes or line ends; absent where the dialect
   * has none at hand.
   */
  readonly whole?: string
  /**
   * The range of a value as it was sent that reads as `range`, which may be of a text derived from it;
   * null when that was put together from several. Ranges are asked for in order. Absent where texts are
   * the values.
   */
  sent?(range: TextRange): TextRange | null
  /** The bytes that change when texts do, in steps; absent where there are no bytes. */
  edit?(edits: readonly TextEdit[]): Generator<void, Edited>
}

/** A part of the text at `index`, in UTF-16 units, end exclusive. */
export interface TextRange {
  readonly index: number
  readonly start: number
  readonly end: number
}

/** Puts `text` in place of a part of a value as it was sent. */
export interface TextEdit extends TextRange {
  readonly text: string
}

/** Splices in order of place, or in words what cannot be edited. */
export type Edited =
  | { readonly splices: readonly Splice[]; readonly refused?: never }
  | { readonly refused: string }

/** Puts `text` into the body at `start`, in place of the bytes up to `end`. */
export interface Splice {
  readonly start: number
  readonly end: number
  readonly text: string
}
