import type { Operation, Parameter, UninspectableKind, Unusual } from '../exchange.ts'

/** The part of the snapshot about tests, and what describes a request. */

/** A request that is described instead of made; '' and empty where the description says nothing. */
export interface DescribedRequest {
  readonly tenant: string
  readonly user: string
  /** Stands for the id and the name of a key; '' is a caller without one. */
  readonly key: string
  readonly roles: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** What is unusual about the call for its caller. */
  readonly unusual: readonly Unusual[]
  readonly operation: Operation
  readonly model: string
  readonly input: readonly string[]
  readonly stream: boolean
  readonly maxOutputTokens: number | null
  readonly tools: readonly string[]
  /** Ids of external detectors that would find something. */
  readonly detected: readonly string[]
  /** Kinds of content that cannot be read. */
  readonly uninspectable: readonly UninspectableKind[]
  /** Milliseconds since 1970; null is now. */
  readonly timeMs: number | null
}

/** One test: null asserts nothing. */
export interface TestConfig {
  readonly name: string
  readonly request: DescribedRequest
  /** What the model answers; null where the test is about the call alone. */
  readonly answer?: readonly string[] | null
  readonly expect: {
    readonly decision: 'allow' | 'deny'
    readonly policy: string | null
    readonly reason: string | null
    readonly why: string | null
    /** The input as it goes on. */
    readonly redacted?: readonly string[] | null
    /** The answer as it goes on. */
    readonly answer?: readonly string[] | null
    /** Parameters as they go on; a null one is not asked about. */
    readonly set?: Readonly<Partial<Record<Parameter, number | string | null>>> | null
  }
}
