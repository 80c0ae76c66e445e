import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import { isSafe } from './resolve-aws-chain.ts'
import { findAzure } from './resolve-azure-chain.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { UpstreamConfig } from './snapshot.ts'

type Written = FileValue['upstreams'][number]

interface Context {
  readonly report: Report
  readonly at: Path
  readonly options: ResolveOptions
}

/** Dialects whose providers take a token of Entra ID (Azure OpenAI, Foundry). */
const TAKES_TOKENS: ReadonlySet<string> = new Set(['azure-openai', 'openai', 'anthropic'])

/** Where the token of an upstream comes from, nothing where it has a key; what is wrong is reported. */
export function resolveAzure(
  { azure, dialect, url, credential, credential_file: file, inspect }: Written,
  { report, at, options }: Context,
): Pick<UpstreamConfig, 'azure'> {
  if (azure === null) return {}
  const here = [...at, 'azure']
  const dialects = 'Only for "azure-openai", "openai" and "anthropic" at Azure: remove it'
  report.check(here, TAKES_TOKENS.has(dialect), dialects)
  for (const [key, value] of Object.entries({ credential, credential_file: file })) {
    report.check([...at, key], value === null, 'Not with `azure`: remove one')
  }
  report.check([...at, 'inspect'], inspect === null, '"none" is not with `azure`: remove one')
  const safe = url.includes('${') || isSafe(url)
  report.check([...at, 'url'], safe, 'Not with `azure`, whose tokens go over https: only')
  const { credentials, scope } = azure
  const found = findAzure(credentials, options.env)
  if (!('wrong' in found)) return { azure: { credentials, scope, chain: found } }
  const wrongAt = [...here, 'credentials']
  if (options.forRun) report.check(wrongAt, false, found.wrong)
  else report.note(wrongAt, found.wrong)
  return { azure: { credentials, scope, chain: null } }
}
