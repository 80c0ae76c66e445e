import { map, number, optional, orValue, text } from './spec.ts'

/** The keys of `set`: a value to put, or what to put where none was sent and bounds for what was. */

/** The bounds of each are its parameter's. */
function bounded(min: number, max: number, isWhole = false) {
  const one = number(min, max, isWhole)
  const bounds = map('set bounds', {
    default: optional(one, 'Put where the call sent none.'),
    at_most: optional(one, 'What was sent is lowered to it.'),
    at_least: optional(one, 'What was sent is raised to it.'),
  })
  return orValue(bounds, one)
}

function worded(what: string) {
  const one = text(what, /^[a-z][a-z0-9_-]*$/, 64)
  return orValue(map('set text', { default: optional(one, 'Put where the call sent none.') }), one)
}

/** What the verb `set` puts and clamps. */
export const SET = map('set', {
  max_output_tokens: optional(
    bounded(1, 1_000_000_000, true),
    'Cap of the answer, whatever the endpoint calls it; 1 – 1000000000, whole.',
  ),
  n: optional(bounded(1, 1000, true), 'Answers to one call; 1 – 1000, whole.'),
  temperature: optional(bounded(0, 2), '0 – 2.'),
  top_p: optional(bounded(0, 1), '0 – 1.'),
  presence_penalty: optional(bounded(-2, 2), '-2 – 2.'),
  frequency_penalty: optional(bounded(-2, 2), '-2 – 2.'),
  reasoning_effort: optional(worded('an effort, like low'), 'Like `low`.'),
  service_tier: optional(worded('a tier, like default'), 'Like `default`.'),
})
