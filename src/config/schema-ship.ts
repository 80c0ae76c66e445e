import { map, optional, required, secret, text } from './spec.ts'

/** The keys of `audit.ship`: where entries are copied to. */
export const SHIP = map('audit.ship', {
  postgres: optional(
    secret(),
    'A `postgres://` URL, as `${NAME}`; `"${DATABASE_URL:-}"` ships only where the variable is set. TLS as in the URL: `?sslmode=verify-full&sslrootcert=/path`. Run `governor migrate` first.',
  ),
  postgres_file: optional(
    text('a path', undefined, 4096),
    'A file holding it instead, read when the configuration is loaded.',
  ),
  http: optional(
    map('audit.ship.http', {
      url: required(
        text('an http(s) URL', undefined, 2048),
        'Where batches are posted, as JSON lines.',
      ),
      credential: optional(secret(), 'Sent as `authorization: Bearer …`, as `${NAME}`.'),
      credential_file: optional(
        text('a path', undefined, 4096),
        'A file holding it instead, read when the configuration is loaded.',
      ),
    }),
    'A collector instead of PostgreSQL. At least once: what is sent again has the same writer, epoch and seq.',
  ),
})
