import {
  choice,
  cost,
  defaulted,
  integer,
  list,
  map,
  optional,
  price,
  rate,
  record,
  required,
  type Spec,
  text,
} from './spec.ts'

const MODEL = /^[^\s\p{Cc}]+$/u

const figures = {
  requests: optional(
    rate(),
    '`100/60s`: at most 100 in any 60 s. `/day`, `/week` and `/month` are calendar periods in `time_zone`. Counts may end in `k` or `M`.',
  ),
  burst: optional(
    integer(1, 1_000_000_000),
    'Makes `requests` a token bucket of this size; not with a calendar period.',
  ),
  concurrent: optional(integer(1, 1_000_000), 'At most this many calls at the same time.'),
  tokens: optional(
    rate(),
    '`200k/min`: tokens of prompts and answers together. What a call will take is estimated and reserved; what it took is settled when it ends.',
  ),
  cost: optional(
    cost(),
    '`50 USD/day`: what calls cost by `prices`; reserved and settled likewise.',
  ),
}

/** The table of `limits`; `call` are its selectors. */
export function limitSpec<Call>(call: Spec<Call>, id: Spec<string>) {
  return map('limits', {
    id: required(id, 'Unique; named in refusals, metrics and entries.'),
    per: required(
      choice(['global', 'tenant', 'key', 'user', 'ip']),
      'What is counted apart: one counter for everything, or one for each tenant, key, user or client address (IPv6 by its /64).',
    ),
    for: optional(call, 'Which calls it counts; absent means all.'),
    ...figures,
    time_zone: optional(
      text('a time zone, like UTC or Europe/Berlin', undefined, 64),
      'IANA name, for calendar periods. UTC when absent.',
    ),
    overrides: defaulted(
      list(
        map('overrides', {
          for: required(call, 'Which calls it is about.'),
          ...figures,
        }),
        { min: 0, max: 100 },
      ),
      '[]',
      'The first whose `for` matches replaces the figures it gives, and the calls it is about count apart from the others; `burst` goes with `requests`. Of a call of several models each is looked at by itself, and all figures found are charged.',
    ),
    reserve_output: optional(
      integer(0, 1_000_000),
      'Tokens reserved for an answer, or the call’s own maximum where that is less. 1024 when absent; with `tokens` or `cost`.',
    ),
    on_store_loss: defaulted(
      choice(['local_share', 'allow', 'deny']),
      'local_share',
      'While a shared `limit_store` is lost: count this sidecar’s share of the figures in memory, let calls pass uncounted, or refuse them with 503.',
    ),
  })
}

const modelPrice = map('prices.models', {
  input: required(price(), 'Tokens of the prompt.'),
  output: required(price(), 'Tokens of the answer; 0 where there are none.'),
  cached: optional(
    price(),
    'Tokens of the prompt read from the provider’s cache; as `input` when absent.',
  ),
  reasoning: optional(price(), 'Tokens of thinking; as `output` when absent.'),
  batch_input: optional(
    price(),
    'Tokens of the prompt at the batch rate, for answers whose `service_tier` is `flex` or `batch`; half of `input` when absent.',
  ),
  batch_output: optional(price(), 'Tokens of such an answer; half of `output` when absent.'),
})

/** The table of `prices`. */
export const PRICES = map('prices', {
  unknown: defaulted(
    choice(['deny', 'allow']),
    'deny',
    'When a `cost` limit is about a call whose model has no price: refuse it, or let it pass uncounted.',
  ),
  models: defaulted(
    record(modelPrice, { key: MODEL, max: 1000 }),
    '{}',
    'Prices of your own, before those that come with Governor ([prices.json](prices.json)); `*` is the only wildcard, and a plain name goes before a pattern.',
  ),
})
