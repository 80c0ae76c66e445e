import {
  address,
  boolean,
  defaulted,
  integer,
  list,
  map,
  optional,
  orValue,
  required,
  secret,
  text,
} from './spec.ts'

const user = optional(text('a user name', /^[!-~]+$/, 128), 'An ACL user.')
const password = optional(secret(), 'As `${NAME}`.')

const SENTINEL = map('limit_store.sentinel', {
  name: required(
    text('the name of a primary', /^[\w.-]+$/, 128),
    'How the Sentinels call the primary.',
  ),
  nodes: required(list(address(), { min: 1, max: 32 }), 'Some Sentinels; the others are found.'),
  user,
  password,
})

/** `limit_store`: a word, a URL, or what a URL cannot say. */
export const STORE = orValue(
  map('limit_store', {
    server: optional(address(), 'One server.'),
    sentinel: optional(SENTINEL, 'The primary that Sentinels name, also after a failover.'),
    cluster: optional(
      list(address(), { min: 1, max: 64 }),
      'Some nodes of a Redis Cluster; the others are found.',
    ),
    user,
    password,
    database: optional(integer(0, 999), 'Not in a Cluster, which has only one. 0 when absent.'),
    tls: defaulted(
      boolean(),
      'false',
      'TLS to the servers, and to the Sentinels. Certificates must have the names or addresses used.',
    ),
    ca_file: optional(
      text('a path', undefined, 4096),
      'Certificates (PEM) that may have signed theirs, instead of the usual; read at the start.',
    ),
  }),
  text('memory or a redis:// URL', undefined, 2048),
)
