import type { AdminRoute } from './routes.ts'
import type { Schema } from './schema.ts'
import { closed, KEY_ID, listOf, NAME_PATTERN, orNull, TENANT, TEXT, TIME } from './shapes.ts'

/** The routes about keys. A secret is in two answers only, of the requests that make one. */

/** The most keys of one page. */
export const KEYS_MAX = 500
/** How many it has when nobody says. */
export const KEYS_A_PAGE = 100

const NAME: Schema = {
  type: 'string',
  pattern: NAME_PATTERN,
  description: 'a letter or digit, then up to 62 of letters, digits, . _ @ -',
}
const NAMES: Schema = { type: 'array', items: NAME, maxItems: 64 }
const LABELS: Schema = {
  type: 'object',
  additionalProperties: NAME,
  propertyNames: { pattern: NAME_PATTERN },
  maxProperties: 64,
}
const UPSTREAMS: Schema = {
  type: 'array',
  items: {
    type: 'string',
    pattern: '^[a-z0-9][a-z0-9_-]{0,63}$',
    description: 'the name of an upstream of the configuration',
  },
  maxItems: 64,
}
const DURATION: Schema = {
  type: 'string',
  pattern: '^[0-9]{1,9}(ms|s|m|h|d)$',
  description: 'a whole number and a unit (ms, s, m, h, d), like 90d',
}

const KEY = closed({
  key_id: KEY_ID,
  tenant: TEXT,
  name: TEXT,
  user: TEXT,
  roles: listOf(TEXT),
  labels: { type: 'object', additionalProperties: TEXT },
  upstreams: { ...listOf(TEXT), description: 'those its calls may go to; empty: all' },
  state: { type: 'string', enum: ['active', 'rotating', 'expired', 'revoked'] },
  created_at: TIME,
  expires_at: orNull(TIME),
  revoked_at: orNull(TIME),
  former_until: orNull({ ...TIME, description: 'a rotated secret opens until then' }),
  last_used_at: {
    anyOf: [TIME, { type: 'string', enum: ['unknown'] }, { type: 'null' }],
    description: 'about; null: never; `unknown` where the store of keys does not keep it',
  },
})

const SECRET: Schema = {
  type: 'string',
  description: 'the whole key, `<key_id>.<secret>`: shown this once, kept nowhere',
}

const ID = '1744c74d-9a2b-473c-9f75-20b5ff5112da'
const SHOWN = {
  key_id: ID,
  tenant: 'acme',
  name: 'ci',
  user: '',
  roles: ['developer'],
  labels: { tier: 'gold' },
  upstreams: [],
  state: 'active',
  created_at: '2026-11-21T14:08:43.301Z',
  expires_at: '2027-02-19T14:08:43.301Z',
  revoked_at: null,
  former_until: null,
  last_used_at: null,
}
const SECRET_SHOWN = `${ID}.kSmZ0x1dYwQk3u8Qe6cT9pVbN2hXrJ5aLf7gDoIiEsM`

const LIST: AdminRoute = {
  id: 'keys.list',
  method: 'GET',
  path: '/keys',
  permission: 'keys.read',
  changes: false,
  wholeFleet: false,
  summary: 'Keys, oldest first, a page at a time; never a secret or its hash.',
  params: {},
  query: {
    tenant: TENANT,
    limit: {
      type: 'integer',
      minimum: 1,
      maximum: KEYS_MAX,
      description: `at most so many; ${KEYS_A_PAGE} when absent`,
    },
    after: {
      type: 'string',
      pattern: '^[0-9]{1,15}\\.[0-9a-f-]{36}$',
      description: 'the `next` of the page before',
    },
  },
  body: null,
  sent: null,
  status: 200,
  answer: closed({
    keys: listOf(KEY, KEYS_MAX),
    next: orNull({ type: 'string', description: 'ask again with `after`; null: that was all' }),
  }),
  example: { keys: [SHOWN], next: `1795270123301.${ID}` },
  refuses: [],
}

const GET: AdminRoute = {
  id: 'keys.get',
  method: 'GET',
  path: '/keys/{key_id}',
  permission: 'keys.read',
  changes: false,
  wholeFleet: false,
  summary: 'One key.',
  params: { key_id: KEY_ID },
  query: {},
  body: null,
  sent: null,
  status: 200,
  answer: KEY,
  example: SHOWN,
  refuses: ['ADMIN_UNKNOWN'],
}

const CREATE: AdminRoute = {
  id: 'keys.create',
  method: 'POST',
  path: '/keys',
  permission: 'keys.create',
  changes: true,
  wholeFleet: false,
  summary: 'Makes a key and answers it: the only time its secret is shown.',
  params: {},
  query: {},
  body: closed(
    {
      tenant: TENANT,
      name: NAME,
      user: NAME,
      roles: { ...NAMES, description: 'those of the admin API only as far as the caller has them' },
      labels: LABELS,
      upstreams: UPSTREAMS,
      expires_in: DURATION,
    },
    ['tenant', 'user', 'roles', 'labels', 'upstreams', 'expires_in'],
  ),
  sent: {
    tenant: 'acme',
    name: 'ci',
    roles: ['developer'],
    labels: { tier: 'gold' },
    expires_in: '90d',
  },
  status: 201,
  answer: closed({ key: SECRET, record: KEY }),
  example: { key: SECRET_SHOWN, record: SHOWN },
  refuses: ['AUDIT_UNAVAILABLE', 'ADMIN_CONFLICT'],
}

const ROTATE: AdminRoute = {
  id: 'keys.rotate',
  method: 'POST',
  path: '/keys/{key_id}/rotate',
  permission: 'keys.rotate',
  changes: true,
  wholeFleet: false,
  summary: 'Gives a key another secret and answers it. The former one opens for `overlap` more.',
  params: { key_id: KEY_ID },
  query: {},
  body: closed(
    {
      overlap: { ...DURATION, description: 'such as 24h, which it is when absent' },
      expires_in: { ...DURATION, description: 'as before when absent' },
    },
    ['overlap', 'expires_in'],
  ),
  sent: { overlap: '1h' },
  status: 200,
  answer: closed({ key: SECRET, record: KEY }),
  example: {
    key: SECRET_SHOWN,
    record: { ...SHOWN, state: 'rotating', former_until: '2026-11-21T15:08:43.301Z' },
  },
  refuses: ['ADMIN_UNKNOWN', 'ADMIN_CONFLICT', 'AUDIT_UNAVAILABLE'],
}

const REVOKE: AdminRoute = {
  id: 'keys.revoke',
  method: 'POST',
  path: '/keys/{key_id}/revoke',
  permission: 'keys.revoke',
  changes: true,
  wholeFleet: false,
  summary: 'Ends a key for ever, and within a second the calls it has under way. Again: no change.',
  params: { key_id: KEY_ID },
  query: {},
  body: null,
  sent: null,
  status: 200,
  answer: KEY,
  example: { ...SHOWN, state: 'revoked', revoked_at: '2026-11-21T15:00:00.000Z' },
  refuses: ['ADMIN_UNKNOWN', 'ADMIN_CONFLICT', 'AUDIT_UNAVAILABLE'],
}

/** In the order of the documentation. */
export const KEY_ROUTES: readonly AdminRoute[] = [LIST, GET, CREATE, ROTATE, REVOKE]
