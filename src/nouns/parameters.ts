/** What `set` may put or clamp, one name across endpoints. */
export const PARAMETERS = [
  'max_output_tokens',
  'n',
  'temperature',
  'top_p',
  'presence_penalty',
  'frequency_penalty',
  'reasoning_effort',
  'service_tier',
] as const
export type Parameter = (typeof PARAMETERS)[number]

/**
 * Where a parameter is in the body of one endpoint: members of the body, or of one of its members
 * (`reasoning.effort`).
 */
export interface ParameterNames {
  /** Each of them is the parameter; the first is the one to put where none was sent. */
  readonly names: readonly string[]
  /** Names of other endpoints, which some server may heed here, too. */
  readonly others?: readonly string[]
}
