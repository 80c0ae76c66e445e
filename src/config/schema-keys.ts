import { choice, defaulted, duration, integer, map, optional, secret, text } from './spec.ts'

const path = text('a path', undefined, 4096)

/** The keys of `auth.keys`: where Governor keys are kept. */
export const KEYS = map('auth.keys', {
  store: defaulted(
    choice(['sqlite', 'postgres', 'file']),
    'sqlite',
    'Where keys are kept: [stores of keys](#stores-of-keys).',
  ),
  path: optional(
    path,
    'The database file of `sqlite`, `data/keys.db` when absent; the YAML of `file`, `keys.yaml`; of `postgres` the copy that a sidecar goes on with while the server is away, `data/keys-copy.db`.',
  ),
  url: optional(
    secret(),
    'Of `postgres`: a `postgres://` URL, as `${NAME}`. TLS as in the URL: `?sslmode=verify-full&sslrootcert=/path`. Run `governor migrate` first.',
  ),
  url_file: optional(path, 'A file holding it instead, read when the configuration is loaded.'),
  direct_url: optional(
    secret(),
    'Of `postgres`: a URL that reaches the server itself and not a pool in front of it. Changes are told there (`NOTIFY`); without it they are asked for every 500 ms.',
  ),
  direct_url_file: optional(
    path,
    'A file holding it instead, read when the configuration is loaded.',
  ),
  max_stale: optional(
    duration('1m', '30d'),
    'Of `postgres`: how long a sidecar goes on with its copy when it cannot reach the server, `24h` when absent; then 503.',
  ),
  bcrypt_cost: defaulted(
    integer(10, 14),
    '10',
    'Work to verify a key for the first time: 10 takes about 60 ms, each step doubles it.',
  ),
})
