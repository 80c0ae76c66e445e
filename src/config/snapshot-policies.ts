import type { Mode, Operation, Parameter, UninspectableKind } from '../exchange.ts'

/** The part of the snapshot about policies and their exceptions. */

/** Fields are AND, items of a field OR; an absent field is null and says nothing. `$set` names are resolved. */
export interface Selectors {
  readonly tenants: readonly string[] | null
  readonly keys: readonly string[] | null
  readonly users: readonly string[] | null
  readonly roles: readonly string[] | null
  /** All given must be equal; values may hold `*`. */
  readonly labels: Readonly<Record<string, string>> | null
  readonly operations: readonly Operation[] | null
  readonly models: readonly string[] | null
  readonly upstreams: readonly string[] | null
  /** Kinds of content that cannot be read; never with limits or exceptions. */
  readonly uninspectable: readonly UninspectableKind[] | null
  readonly input: InputSelector | null
  /** A CEL expression, checked at load; never with limits. */
  readonly when: string | null
}

/** What a policy looks for in the texts of a call. */
export interface InputSelector {
  /** RE2 pattern, checked at load. */
  readonly matches: string | null
  /** Whole words, compared case-insensitively. */
  readonly words: readonly string[] | null
  readonly charsMax: number | null
  /** Estimated tokens. */
  readonly tokensMax: number | null
  /** Ids of detectors, of `DETECTORS` or of the file. */
  readonly detect: readonly string[] | null
}

/** What a policy looks for in the answer. */
export interface OutputSelector {
  /** RE2 pattern, checked at load. */
  readonly matches: string | null
  /** As written, for patterns without a longest match. */
  readonly window: number | null
  /** Longest match of any pattern that a stream is held back for, UTF-16 units; 0 without patterns. */
  readonly windowUnits: number
  /** Whole words, compared case-insensitively. */
  readonly words: readonly string[] | null
  /** UTF-16 units of what the model says; refused is what exceeds it. */
  readonly charsMax: number | null
  /** Estimated tokens of what the model says. */
  readonly tokensMax: number | null
  /** Ids of detectors, of `DETECTORS` or of the file. */
  readonly detect: readonly string[] | null
}

/** One policy, in the order of the file. */
export interface PolicyConfig {
  readonly id: string
  readonly mode: Mode
  readonly message: string | null
  readonly for: Selectors | null
  readonly verb: 'allow' | 'deny' | 'require' | 'redact' | 'set'
  /** The verb's own selectors; of `redact`, its `input` is what is masked and all others are null. */
  readonly selectors: Selectors
  /** Looked for in the answer; absent where the policy is about calls only. */
  readonly output?: OutputSelector
  /** Of a `redact` that puts values back into the answer; absent of every other policy. */
  readonly restore?: true
  /** What a `set` puts and clamps, which has no selectors; absent of every other verb. */
  readonly settings?: readonly SettingConfig[]
}

/** What a `set` makes of one parameter; null says nothing. */
export interface SettingConfig {
  readonly parameter: Parameter
  /** Put whatever was sent. */
  readonly value: number | string | null
  /** Put where nothing was sent. */
  readonly default: number | string | null
  readonly atMost: number | null
  readonly atLeast: number | null
}

/** An approved exception: lifts one policy from the calls it is about, until it ends. */
export interface ExceptionConfig {
  readonly id: string
  /** Id of a policy that is not an `allow`. */
  readonly policy: string
  /** Selectors without `input` and `when`; null is every call. */
  readonly for: Selectors | null
  readonly reason: string
  readonly approvedBy: string
  /** The first moment at which it no longer holds, milliseconds since 1970. */
  readonly expiresMs: number
}
