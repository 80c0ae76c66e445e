import type { AdminRoute } from './routes.ts'
import type { Schema } from './schema.ts'
import { closed, COUNT, DIGEST, listOf, orNull, REQUEST_ID, TENANT, TEXT } from './shapes.ts'

/** The routes that read the audit. */

/** The most entries of one page. */
export const PAGE_MAX = 500
const PAGE = 100

const ENTRY = closed({
  writer: TEXT,
  epoch: COUNT,
  seq: COUNT,
  entry: { type: 'object', description: 'the body, as the README says under Audit' },
})

const SHOWN = '0f5d2c6e-7a38-4a71-a1aa-17b71ceca67d'
const ENTRY_SHOWN = {
  writer: '8c1f5a2e9d3b4c6f8a7b6c5d4e3f2a1b',
  epoch: 1,
  seq: 42,
  entry: {
    kind: 'decision',
    time: '2026-11-21T14:08:43.301Z',
    request_id: SHOWN,
    tenant: 'acme',
    decision: 'deny',
    status: 403,
    code: 'POLICY_DENIED',
    policy: 'no-frontier',
  },
}

const name = (description: string): Schema => {
  return { type: 'string', minLength: 1, maxLength: 256, description }
}

const AUDIT: AdminRoute = {
  id: 'audit.read',
  method: 'GET',
  path: '/audit',
  permission: 'audit.read',
  changes: false,
  wholeFleet: false,
  summary: 'The newest decisions that match, newest first; the filters of `governor audit query`.',
  params: {},
  query: {
    tenant: TENANT,
    key: name('of this key, by id or name'),
    model: name('for this model, as the call named it'),
    decision: { type: 'string', enum: ['allow', 'deny'] },
    policy: name('decided by this policy'),
    since: {
      type: 'string',
      pattern: '^[0-9]{1,9}(ms|s|m|h|d)$',
      description: 'only of that long, such as 7d',
    },
    source: {
      type: 'string',
      enum: ['local', 'postgres'],
      description:
        'the log of this sidecar, also when absent; or the database of audit.ship, which has those of all sidecars as far as they were shipped',
    },
    limit: {
      type: 'integer',
      minimum: 1,
      maximum: PAGE_MAX,
      description: `at most so many; ${PAGE} when absent`,
    },
    after: {
      type: 'string',
      pattern: '^[0-9]{1,17}\\.[0-9]{1,10}\\.[0-9]{1,16}(\\.[0-9a-f]{32})?$',
      description: 'the `next` of the page before',
    },
  },
  body: null,
  sent: null,
  status: 200,
  answer: closed({
    entries: listOf(ENTRY, PAGE_MAX),
    next: orNull({ type: 'string', description: 'ask again with `after`; null: that was all' }),
  }),
  example: { entries: [ENTRY_SHOWN], next: '1795270123301000.1.42' },
  refuses: ['AUDIT_UNREADABLE'],
}

const ROW = closed({
  id: TEXT,
  verb: TEXT,
  mode: TEXT,
  finding: {
    type: 'string',
    enum: ['matched', 'not matched', 'skipped', 'unknown', 'error', 'excepted'],
  },
  why: TEXT,
  exception: orNull(TEXT),
})

const EXPLAIN: AdminRoute = {
  id: 'calls.explain',
  method: 'GET',
  path: '/explain/{request_id}',
  permission: 'calls.explain',
  changes: false,
  wholeFleet: false,
  summary:
    'A recorded call and what every policy in force makes of it, as `governor explain` says it.',
  params: { request_id: REQUEST_ID },
  query: {},
  body: null,
  sent: null,
  status: 200,
  answer: closed({
    request_id: REQUEST_ID,
    entries: listOf(ENTRY, PAGE_MAX),
    refused: orNull({ type: 'string', description: 'the code, where no policy was asked' }),
    explained: orNull(
      closed({
        digest: DIGEST,
        same: { type: 'boolean', description: 'the snapshot in force is the one that decided' },
        served: { type: 'boolean', description: 'false: no upstream serves its model any more' },
        effect: { type: 'string', enum: ['allow', 'deny', 'unknown'] },
        policy: orNull(TEXT),
        unknown: orNull({
          type: 'string',
          description: 'where `effect` is unknown, the policy that needs what was not recorded',
        }),
        policies: listOf(ROW),
      }),
    ),
  }),
  example: {
    request_id: SHOWN,
    entries: [ENTRY_SHOWN],
    refused: null,
    explained: {
      digest: '7cd0a7e1c3a1f2b94d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4',
      same: true,
      served: true,
      effect: 'deny',
      policy: 'no-frontier',
      unknown: null,
      policies: [
        {
          id: 'no-frontier',
          verb: 'deny',
          mode: 'enforce',
          finding: 'matched',
          why: 'models',
          exception: null,
        },
      ],
    },
  },
  refuses: ['ADMIN_UNKNOWN'],
}

/** How many entries a page has when nobody says. */
export const PAGE_ENTRIES = PAGE

/** In the order of the documentation. */
export const AUDIT_ROUTES: readonly AdminRoute[] = [AUDIT, EXPLAIN]
