/** Environment variables by which Node checks no certificate of any server; the only value that does. */
const UNCHECKED = ['NODE_TLS_REJECT_UNAUTHORIZED', '0'] as const

/**
 * Takes out of the environment what would weaken every TLS connection of this process and its threads
 * (upstreams, PostgreSQL, Redis, issuers), and says so. Proxies that it names are ignored by everyone who
 * connects.
 */
export function ignoreAmbient(
  env: Record<string, string | undefined>,
  writeError: (text: string) => void,
): void {
  const [name, value] = UNCHECKED
  if (env[name] !== value) return
  delete env[name]
  writeError(
    `${name}=${value} is ignored: certificates are always checked. Name the authority of a server with its ca_file.\n`,
  )
}
