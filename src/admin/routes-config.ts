import type { AdminRoute } from './routes.ts'
import type { Schema } from './schema.ts'
import { closed, COUNT, DIGEST, KEY_ID, listOf, orNull, TENANT, TEXT, TIME } from './shapes.ts'

/** The routes about the configuration in force: limits, policies, reload. */

const DIGEST_SHOWN = '7cd0a7e1c3a1f2b94d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4'
const KINDS: Schema = { type: 'string', enum: ['requests', 'concurrent', 'tokens', 'cost'] }

const RATE = closed({
  count: COUNT,
  window_ms: COUNT,
  calendar: orNull({ type: 'string', enum: ['day', 'week', 'month'] }),
})

const FIGURES = {
  requests: orNull(RATE),
  burst: orNull(COUNT),
  concurrent: orNull(COUNT),
  tokens: orNull(RATE),
  cost_nano_usd: orNull(RATE),
}

const LIMIT = closed({
  id: TEXT,
  per: { type: 'string', enum: ['global', 'tenant', 'key', 'user', 'ip'] },
  ...FIGURES,
  time_zone: TEXT,
  on_store_loss: { type: 'string', enum: ['local_share', 'allow', 'deny'] },
  narrowed: { type: 'boolean', description: 'it has a `for`' },
  overrides: listOf(closed(FIGURES)),
})

const STANDING = closed({
  id: TEXT,
  override: orNull({ type: 'integer', minimum: 0, description: 'which one holds; null: none' }),
  what: KINDS,
  limit: COUNT,
  remaining: COUNT,
  reset_ms: COUNT,
  some_calls: { type: 'boolean', description: 'it is about some operations, models or upstreams' },
})

const LIMITS: AdminRoute = {
  id: 'limits.read',
  method: 'GET',
  path: '/limits',
  permission: 'limits.read',
  changes: false,
  wholeFleet: false,
  summary:
    'The limits of the configuration and, of a tenant or key, how they stand on this sidecar or in the shared store.',
  params: {},
  query: { tenant: TENANT, key: KEY_ID },
  body: null,
  sent: null,
  status: 200,
  answer: closed({
    store: { type: 'string', enum: ['memory', 'redis', 'local_share'] },
    limits: listOf(LIMIT),
    state: orNull(
      closed({
        tenant: TEXT,
        key_id: orNull(KEY_ID),
        limits: listOf(STANDING),
      }),
    ),
  }),
  example: {
    store: 'memory',
    limits: [
      {
        id: 'key-rpm',
        per: 'key',
        requests: { count: 600, window_ms: 60_000, calendar: null },
        burst: null,
        concurrent: null,
        tokens: null,
        cost_nano_usd: null,
        time_zone: 'UTC',
        on_store_loss: 'local_share',
        narrowed: false,
        overrides: [],
      },
    ],
    state: {
      tenant: 'acme',
      key_id: '1744c74d-9a2b-473c-9f75-20b5ff5112da',
      limits: [
        {
          id: 'key-rpm',
          override: null,
          what: 'requests',
          limit: 600,
          remaining: 597,
          reset_ms: 41_250,
          some_calls: false,
        },
      ],
    },
  },
  refuses: ['ADMIN_UNKNOWN'],
}

const POLICY = closed({
  id: TEXT,
  verb: { type: 'string', enum: ['allow', 'deny', 'require', 'redact', 'set'] },
  mode: { type: 'string', enum: ['enforce', 'warn', 'shadow'] },
  digest: {
    type: 'string',
    description: 'names what it looks for: equal ones match the same calls',
  },
  message: orNull(TEXT),
})

const EXCEPTION = closed({
  id: TEXT,
  policy: TEXT,
  reason: TEXT,
  approved_by: TEXT,
  expires: TIME,
  ended: { type: 'boolean' },
})

const POLICIES: AdminRoute = {
  id: 'policies.read',
  method: 'GET',
  path: '/policies',
  permission: 'policies.read',
  changes: false,
  wholeFleet: false,
  summary: 'The policies in force with their modes, and the exceptions to them with their ends.',
  params: {},
  query: { tenant: TENANT },
  body: null,
  sent: null,
  status: 200,
  answer: closed({
    digest: DIGEST,
    defaults: closed({
      decision: { type: 'string', enum: ['allow', 'deny'] },
      on_error: { type: 'string', enum: ['allow', 'deny'] },
      uninspectable: { type: 'string', enum: ['allow', 'deny'] },
    }),
    policies: listOf(POLICY),
    exceptions: listOf(EXCEPTION),
    candidate: orNull(closed({ digest: DIGEST, policies: listOf(POLICY) })),
  }),
  example: {
    digest: DIGEST_SHOWN,
    defaults: { decision: 'deny', on_error: 'deny', uninspectable: 'deny' },
    policies: [
      {
        id: 'no-frontier',
        verb: 'deny',
        mode: 'enforce',
        digest: '5d0e4b6a1f2c3d4e',
        message: 'Frontier models need an approval',
      },
    ],
    exceptions: [
      {
        id: 'EXC-142',
        policy: 'no-frontier',
        reason: 'DPIA-31',
        approved_by: 'dpo',
        expires: '2027-01-31T00:00:00.000Z',
        ended: false,
      },
    ],
    candidate: null,
  },
  refuses: [],
}

const PROBLEM = closed({
  file: TEXT,
  line: { type: 'integer', minimum: 0, description: '0: the file could not be read at all' },
  column: COUNT,
  path: { type: 'string', description: 'like policies[2].id; empty: the file or its syntax' },
  message: TEXT,
})

/** What is wrong with a file, beside `error`, in a refused reload. */
export const PROBLEMS: Schema = listOf(PROBLEM)

const RELOAD: AdminRoute = {
  id: 'config.reload',
  method: 'POST',
  path: '/reload',
  permission: 'config.reload',
  changes: true,
  wholeFleet: true,
  summary:
    'Reads the configuration file now, and what it points to. On any problem the last good one stays.',
  params: {},
  query: {},
  body: null,
  sent: null,
  status: 200,
  answer: closed({
    digest: DIGEST,
    changed: { type: 'boolean' },
    notes: PROBLEMS,
    deferred: { ...listOf(TEXT), description: 'keys that take effect at the next start' },
  }),
  example: { digest: DIGEST_SHOWN, changed: true, notes: [], deferred: ['audit.path'] },
  refuses: ['CONFIG_INVALID', 'AUDIT_UNAVAILABLE'],
}

/** In the order of the documentation. */
export const CONFIG_ROUTES: readonly AdminRoute[] = [LIMITS, POLICIES, RELOAD]
