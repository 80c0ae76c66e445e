import { chat } from './client.ts'
import type { TestIssuer } from './issuer.ts'
import { configText, InProcess, type Sections } from './start-governor.ts'

interface Test {
  testdir(files: Record<string, string>): string
  teardown(then: () => unknown): void
}

export interface JwtOptions extends Sections {
  /** More keys of the issuer's entry, in flow form. */
  readonly entry?: string
  readonly claims?: string
}

/** Sections with the issuer as `sso`; a file `ca.pem` is expected beside them. */
export function sections(
  issuer: TestIssuer,
  { entry = '', claims, ...rest }: JwtOptions,
): Sections {
  const map = claims ?? '{ tenant: org, roles: groups, labels: { team: dept } }'
  const jwt = `[{ name: sso, issuer: '${issuer.url}', audience: [governor], ca_file: ca.pem, claims: ${map}${entry} }]`
  return { jwt, ownership: 'off', ...rest }
}

/** A Governor that accepts tokens of `issuer`, and what a call with a key or a token ends with. */
export async function startWith(t: Test, issuer: TestIssuer, options: JwtOptions = {}) {
  const directory = t.testdir({ 'ca.pem': issuer.ca })
  const site = new InProcess(directory, configText(sections(issuer, options)))
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const call = async (key: string) => {
    const { status, headers } = await site.send({ key, body: chat('hi') })
    return `${status} ${String(headers['x-governor-code'] ?? 'ok')}`
  }
  return { site, call }
}
