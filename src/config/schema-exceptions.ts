import { expression, list, map, optional, required, type Spec, text } from './spec.ts'

/** The keys of `exceptions:`: who approved that which policy is lifted from whom, and until when. */

/** What ticket systems give out, like `EXC-142`. */
const EXCEPTION_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/
/** A date, or RFC 3339 with the seconds optional. */
const END = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/
/** The most exceptions one file may hold. */
const EXCEPTIONS_MAX = 500

/** `call` are the selectors of calls. */
export function exceptionsSpec<Call>(call: Spec<Call>) {
  return list(
    map('exceptions', {
      id: required(
        text('an id of letters, digits, ., _ and -, like EXC-142', EXCEPTION_ID, 64),
        'Unique; named in entries and metrics.',
      ),
      policy: required(
        text('a policy id', undefined, 64),
        'The one policy it lifts; not an `allow`, because an exception grants nothing.',
      ),
      for: optional(
        call,
        'Calls it is lifted from; absent means all. Of `models`, every one in the call must match.',
      ),
      reason: required(expression('a reason', 500), 'Why; the audit keeps it.'),
      approved_by: required(text('a person or a role', undefined, 128), 'Who answers for it.'),
      expires: required(
        text('a date, like 2027-01-31, or a time, like 2027-01-31T12:00:00Z', END, 32),
        'The last day, to its end in UTC, or the moment from which it no longer holds.',
      ),
    }),
    { min: 0, max: EXCEPTIONS_MAX },
  )
}
