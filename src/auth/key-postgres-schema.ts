/**
 * The tables of keys in PostgreSQL, version by version: what was released is never edited, a change is
 * a new version at the end. `changed_at` never goes back and is the order of the commits, because the
 * trigger stamps under a lock that is held until the commit: who has read up to a moment has missed
 * nothing before it. Uses are apart, so that they change no key.
 */
export const KEY_MIGRATIONS: readonly string[] = [
  String.raw`
  CREATE SCHEMA IF NOT EXISTS governor_keys;
  CREATE TABLE governor_keys.schema_version (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE TABLE governor_keys.store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id uuid NOT NULL DEFAULT gen_random_uuid()
  );
  INSERT INTO governor_keys.store DEFAULT VALUES;
  CREATE TABLE governor_keys.keys (
    key_id text PRIMARY KEY CHECK (key_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'),
    tenant text NOT NULL,
    name text NOT NULL,
    "user" text NOT NULL,
    roles text NOT NULL CHECK (jsonb_typeof(roles::jsonb) = 'array'),
    labels text NOT NULL CHECK (jsonb_typeof(labels::jsonb) = 'object'),
    upstreams text NOT NULL CHECK (jsonb_typeof(upstreams::jsonb) = 'array'),
    hash text NOT NULL CHECK (length(hash) = 60),
    former_hash text CHECK (length(former_hash) = 60),
    former_until_ms bigint,
    created_at_ms bigint NOT NULL,
    expires_at_ms bigint,
    revoked_at_ms bigint,
    changed_at timestamptz NOT NULL
  );
  CREATE INDEX keys_changed ON governor_keys.keys (changed_at);
  CREATE INDEX keys_created ON governor_keys.keys (created_at_ms, key_id COLLATE "C");
  CREATE INDEX keys_tenant ON governor_keys.keys (tenant, created_at_ms, key_id COLLATE "C");
  CREATE TABLE governor_keys.uses (
    key_id text PRIMARY KEY,
    last_used_at_ms bigint NOT NULL
  ) WITH (fillfactor = 70);
  CREATE FUNCTION governor_keys.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM pg_advisory_xact_lock(1735292523, 1);
    NEW.changed_at := greatest(
      clock_timestamp(),
      (SELECT max(changed_at) FROM governor_keys.keys) + interval '1 microsecond'
    );
    RETURN NEW;
  END $$;
  CREATE FUNCTION governor_keys.tell() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM pg_notify('governor_keys', '');
    RETURN NULL;
  END $$;
  CREATE FUNCTION governor_keys.keep() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    RAISE EXCEPTION 'Keys are revoked, not deleted: sidecars would go on with what they know';
  END $$;
  CREATE TRIGGER keys_stamp BEFORE INSERT OR UPDATE ON governor_keys.keys
    FOR EACH ROW EXECUTE FUNCTION governor_keys.stamp();
  CREATE TRIGGER keys_tell AFTER INSERT OR UPDATE ON governor_keys.keys
    FOR EACH STATEMENT EXECUTE FUNCTION governor_keys.tell();
  CREATE TRIGGER keys_keep BEFORE DELETE OR TRUNCATE ON governor_keys.keys
    FOR EACH STATEMENT EXECUTE FUNCTION governor_keys.keep();
  `,
]

/** The channel on which a commit that changes keys is told. */
export const KEYS_CHANNEL = 'governor_keys'

/** May read keys and keep when they were used: what a sidecar needs. */
export const SIDECAR_ROLE = 'governor_sidecar'
/** May make and change keys, and move none to another tenant: what `governor keys` needs. */
export const KEY_ADMIN_ROLE = 'governor_key_admin'

/** Repeated with every migration: harmless where it is so already. */
export const KEY_GRANTS = `
  DO $$
  DECLARE name text;
  BEGIN
    FOREACH name IN ARRAY ARRAY['${SIDECAR_ROLE}', '${KEY_ADMIN_ROLE}'] LOOP
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        BEGIN
          EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
          NULL;
        END;
      END IF;
    END LOOP;
  END $$;
  GRANT USAGE ON SCHEMA governor_keys TO ${SIDECAR_ROLE}, ${KEY_ADMIN_ROLE};
  GRANT SELECT ON governor_keys.schema_version, governor_keys.store, governor_keys.keys,
    governor_keys.uses TO ${SIDECAR_ROLE}, ${KEY_ADMIN_ROLE};
  GRANT INSERT, UPDATE ON governor_keys.uses TO ${SIDECAR_ROLE};
  GRANT INSERT ON governor_keys.keys TO ${KEY_ADMIN_ROLE};
  GRANT UPDATE (hash, former_hash, former_until_ms, expires_at_ms, revoked_at_ms)
    ON governor_keys.keys TO ${KEY_ADMIN_ROLE};
`
