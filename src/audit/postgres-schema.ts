/**
 * The tables in PostgreSQL, version by version: what was released is never edited, a change is a new
 * version at the end. Bodies are kept as the bytes that were hashed; the columns beside them repeat
 * what questions are asked by.
 */

/** One step of the schema; step n makes version n. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE SCHEMA IF NOT EXISTS governor;
  CREATE TABLE governor.schema_version (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE TABLE governor.writers (
    writer_id bytea NOT NULL CHECK (length(writer_id) = 16),
    epoch integer NOT NULL,
    last_seq bigint NOT NULL,
    last_hash bytea NOT NULL CHECK (length(last_hash) = 32),
    shipped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (writer_id, epoch)
  );
  CREATE TABLE governor.entries (
    writer_id bytea NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    kind text NOT NULL,
    request_id text NOT NULL,
    awaits boolean NOT NULL,
    hash bytea NOT NULL,
    body bytea NOT NULL,
    tenant text,
    key_id text,
    key_name text,
    operation text,
    model text,
    decision text,
    policy text,
    code text,
    PRIMARY KEY (writer_id, epoch, seq, occurred_at)
  ) PARTITION BY RANGE (occurred_at);
  CREATE TABLE governor.entries_default PARTITION OF governor.entries DEFAULT;
  CREATE INDEX entries_time ON governor.entries (occurred_at);
  CREATE INDEX entries_tenant ON governor.entries (tenant, occurred_at) WHERE tenant IS NOT NULL;
  CREATE INDEX entries_key ON governor.entries (key_id, occurred_at) WHERE key_id IS NOT NULL;
  CREATE INDEX entries_request ON governor.entries (request_id) WHERE request_id <> '';
  CREATE TABLE governor.dead_letters (
    writer_id bytea NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    kind bytea NOT NULL,
    request_id bytea NOT NULL,
    awaits boolean NOT NULL,
    hash bytea NOT NULL,
    body bytea NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (writer_id, epoch, seq)
  );
  CREATE VIEW governor.audit AS
    SELECT encode(writer_id, 'hex') AS writer, epoch, seq, occurred_at, kind, request_id,
      tenant, key_id, key_name, operation, model, decision, policy, code,
      convert_from(body, 'UTF8')::jsonb AS entry
    FROM governor.entries;
  `,
  `
  CREATE TABLE governor.owned (
    id text PRIMARY KEY CHECK (length(id) <= 256),
    tenant text NOT NULL,
    origin text NOT NULL,
    models text NOT NULL,
    awaited boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE INDEX owned_age ON governor.owned (created_at);
  `,
  // What `audit query --url` asks by, in the order it answers; a call without the name costs nothing.
  `
  CREATE INDEX entries_key_name ON governor.entries (key_name, occurred_at)
    WHERE key_name IS NOT NULL;
  CREATE INDEX entries_model ON governor.entries (model, occurred_at) WHERE model IS NOT NULL;
  CREATE INDEX entries_policy ON governor.entries (policy, occurred_at) WHERE policy IS NOT NULL;
  CREATE INDEX entries_decision ON governor.entries (decision, occurred_at)
    WHERE decision IS NOT NULL;
  CREATE INDEX entries_removals ON governor.entries (occurred_at)
    WHERE kind = 'retention' OR kind = 'redaction';
  `,
]

/** May insert entries and move a writer's head; may neither change nor delete an entry. */
export const SHIPPER_ROLE = 'governor_shipper'
/** May look up, write and remove who owns what a provider keeps, and nothing else. */
export const OWNER_ROLE = 'governor_owner'
/** May read everything. */
export const READER_ROLE = 'governor_reader'

/** Repeated with every migration: harmless where it is so already. */
export const GRANTS = `
  DO $$
  DECLARE name text;
  BEGIN
    FOREACH name IN ARRAY ARRAY['${SHIPPER_ROLE}', '${OWNER_ROLE}', '${READER_ROLE}'] LOOP
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        BEGIN
          EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
          NULL;
        END;
      END IF;
    END LOOP;
  END $$;
  GRANT USAGE ON SCHEMA governor TO ${SHIPPER_ROLE}, ${OWNER_ROLE}, ${READER_ROLE};
  GRANT SELECT ON governor.schema_version TO ${OWNER_ROLE};
  GRANT SELECT, INSERT, UPDATE, DELETE ON governor.owned TO ${OWNER_ROLE};
  GRANT SELECT ON governor.schema_version TO ${SHIPPER_ROLE};
  GRANT SELECT, INSERT ON governor.writers TO ${SHIPPER_ROLE};
  GRANT UPDATE (last_seq, last_hash, shipped_at) ON governor.writers TO ${SHIPPER_ROLE};
  GRANT INSERT ON governor.entries, governor.dead_letters TO ${SHIPPER_ROLE};
  GRANT SELECT (writer_id, epoch, seq, hash) ON governor.entries TO ${SHIPPER_ROLE};
  GRANT SELECT (writer_id, epoch, seq, hash) ON governor.dead_letters TO ${SHIPPER_ROLE};
  GRANT SELECT ON ALL TABLES IN SCHEMA governor TO ${READER_ROLE};
`
