import {
  boolean,
  defaulted,
  duration,
  fraction,
  integer,
  list,
  map,
  optional,
  required,
  secret,
  text,
} from './spec.ts'

/** Keys of an upstream that say what is done when it fails, and how much of it there may be. */
export const UPSTREAM_CARE = {
  ca_file: optional(
    text('a path', undefined, 4096),
    'Certificates (PEM) that may have signed the one of an `https:` upstream, instead of the usual; a change of the file is a reload.',
  ),
  proxy: optional(
    map('upstreams.proxy', {
      url: required(
        text('an http(s) URL', undefined, 2048),
        'Scheme, host and port, like `http://proxy.corp:3128`; without a port 80 or, with `https:`, 443.',
      ),
      credential: optional(
        secret(),
        '`user:password` for the proxy (Basic, RFC 7617), as `${NAME}`. Absent for one that wants none.',
      ),
      credential_file: optional(
        text('a path', undefined, 4096),
        'A file holding it instead, read when the configuration is loaded.',
      ),
      ca_file: optional(
        text('a path', undefined, 4096),
        'Certificates (PEM) that may have signed the one of an `https:` proxy, instead of the usual.',
      ),
    }),
    'Connects through this proxy (CONNECT): [outbound proxies](#outbound-proxies). Absent: straight, whatever `HTTPS_PROXY` in the environment says.',
  ),
  group: optional(
    text('a name of a-z, 0-9 and -, starting with a letter', /^[a-z][a-z0-9-]{0,62}$/, 63),
    'Upstreams of one group stand in for each other: same dialect, same `usage`, and no policy or limit tells them apart. See [upstreams that fail](#upstreams-that-fail).',
  ),
  priority: optional(
    integer(0, 99),
    'In a group: lower ones are called first, higher ones while those are away. 0 when absent.',
  ),
  weight: optional(
    integer(1, 1000),
    'In a group: its share of the calls among those of the same priority. 1 when absent.',
  ),
  retry: optional(
    map('upstreams.retry', {
      attempts: defaulted(
        integer(0, 5),
        '2',
        'Tries after the first one; each at another member of the group where there is one.',
      ),
      on: defaulted(
        list(integer(429, 599), { min: 0, max: 16 }),
        '[429, 502, 503, 504]',
        'Statuses of answers that are tried again; that it cannot be reached always is.',
      ),
      wait_max: defaulted(
        duration('10ms', '1m'),
        '2s',
        'The longest wait before a try; an answer whose `retry-after` is longer is not tried again there.',
      ),
      budget: defaulted(
        fraction(),
        '0.2',
        'Retries per call in the long run, so that a provider in trouble is not called several times as often; ten are always in stock.',
      ),
      maybe_billed: defaulted(
        boolean(),
        'false',
        'Also tries again calls that were sent and got no answer (time-out, connection lost): the provider may bill both.',
      ),
    }),
    'Tries failed calls again, before the first byte of an answer. Absent: not at all, in a group with the values shown.',
  ),
  breaker: optional(
    map('upstreams.breaker', {
      failures: defaulted(
        integer(1, 1000),
        '5',
        'Failures in a row (not reached, no answer, 5xx) after which it is not called.',
      ),
      open: defaulted(
        duration('100ms', '5m'),
        '5s',
        'For how long; then one call tries. Each time it fails again soon, twice as long, up to 16 times.',
      ),
    }),
    'Stops calling it while it fails: calls go to the group, else are refused with 503. Absent: never, in a group with the values shown.',
  ),
  concurrency: optional(
    map('upstreams.concurrency', {
      calls: defaulted(integer(1, 4096), '100', 'Calls at once, streams until their end.'),
      queue: defaulted(integer(0, 10_000), '100', 'Calls that wait for a place; more get 503.'),
      wait_max: defaulted(duration('10ms', '5m'), '10s', 'The longest wait; then 503.'),
    }),
    'The most calls of this sidecar at once. Absent: `maximums.streams`.',
  ),
  fallback: optional(
    map('upstreams.fallback', {
      models: required(
        list(text('a plain model name', /^[!-)+-~]+$/, 128), { min: 1, max: 5 }),
        'Tried in this order, each decided, limited and recorded as a call of its own model.',
      ),
    }),
    'Other models for a call that this upstream and its group failed: [upstreams that fail](#upstreams-that-fail).',
  ),
  timeouts: optional(
    map('upstreams.timeouts', {
      connect: optional(duration('10ms', '5m'), 'Instead of `timeouts.connect`.'),
      first_byte: optional(duration('10ms', '1d'), 'Instead of `timeouts.first_byte`.'),
      idle: optional(duration('10ms', '1d'), 'Instead of `timeouts.idle`.'),
    }),
    'Its own, instead of those of the file.',
  ),
}
