import {
  choice,
  defaulted,
  duration,
  integer,
  map,
  optional,
  orValue,
  required,
  secret,
  text,
} from './spec.ts'

/** `ownership`: who owns what providers keep. */
export const OWNERSHIP = orValue(
  map('ownership', {
    store: required(
      choice(['off', 'embedded', 'postgres']),
      'Where it is written down who created what. `embedded` is a file of this sidecar; `postgres` is shared by all that name it.',
    ),
    path: defaulted(
      text('a path', undefined, 4096),
      'data/ownership.db',
      'Of `embedded`: the file. Best on a volume that outlives the pod.',
    ),
    postgres: optional(
      secret(),
      'Of `postgres`: its URL, as `${NAME}`; absent, that of `audit.ship`. Run `governor migrate` first.',
    ),
    postgres_file: optional(
      text('a path', undefined, 4096),
      'A file holding it instead, read when the configuration is loaded.',
    ),
    records_max: defaulted(
      integer(1_000, 100_000_000),
      '1000000',
      'The most ids that are remembered, at about 200 bytes each; one tenant has at most four fifths of them. Beyond it what would create one is refused with 503.',
    ),
    expires: defaulted(
      duration('1h', '3650d'),
      '400d',
      'How long an id is remembered. Take longer than the provider keeps things: what is forgotten is nobody’s.',
    ),
    unknown: defaulted(
      choice(['uninspectable', 'refuse']),
      'uninspectable',
      'What an id in a body is that nobody created here: content nobody can read, which policies decide about, or 404. In a path it is always 404.',
    ),
  }),
  choice(['off', 'embedded', 'postgres']),
)
