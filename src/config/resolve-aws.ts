import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import { findAws } from './resolve-aws-chain.ts'
import { resolveSecret } from './resolve-secret.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { UpstreamConfig } from './snapshot.ts'

type Written = FileValue['upstreams'][number]

interface Context {
  readonly report: Report
  readonly at: Path
  readonly options: ResolveOptions
}

/** What an upstream signs with, none where it does not; what is missing or out of place is reported. */
export function resolveAws(
  upstream: Written,
  credential: string | null,
  { report, at, options }: Context,
): Pick<UpstreamConfig, 'aws'> & { readonly credential?: string | null } {
  const { aws, dialect, url } = upstream
  if (aws === null) return {}
  const here = [...at, 'aws']
  report.check(here, dialect === 'bedrock', `Only for "bedrock": remove it`)
  if (aws.credentials !== null) return fromChain(upstream, { report, at, options })
  const context = { at: here, report, options, literal: url.startsWith('echo:') }
  const accessKeyId = resolveSecret(
    { value: aws.access_key_id, file: aws.access_key_id_file },
    { ...context, key: 'access_key_id' },
  )
  const sessionToken = resolveSecret(
    { value: aws.session_token, file: aws.session_token_file },
    { ...context, key: 'session_token' },
  )
  const isNamed = aws.access_key_id !== null || aws.access_key_id_file !== null
  report.check(here, isNamed, 'Needs `access_key_id` or `access_key_id_file`')
  if (credential === null && report.clean([...at, 'credential'])) {
    report.check(here, false, 'Needs the secret access key: set `credential` or `credential_file`')
  }
  return { aws: { region: aws.region, accessKeyId: accessKeyId ?? '', sessionToken } }
}

function fromChain(
  { aws, credential, credential_file: file }: Written,
  { report, at, options }: Context,
): { readonly aws: NonNullable<UpstreamConfig['aws']>; readonly credential: string | null } {
  const { region, credentials: _credentials, ...keys } = aws!
  const message = 'Not with `credentials: chain`: remove one'
  for (const [key, value] of Object.entries({ credential, credential_file: file })) {
    report.check([...at, key], value === null, message)
  }
  for (const [key, value] of Object.entries(keys)) {
    report.check([...at, 'aws', key], value === null, message)
  }
  const found = findAws(options.env, region)
  const here = [...at, 'aws', 'credentials']
  if ('wrong' in found) {
    if (options.forRun) report.check(here, false, found.wrong)
    else report.note(here, found.wrong)
    const chain = { kind: 'environment' } as const
    return { aws: { region, accessKeyId: '', sessionToken: null, chain }, credential: null }
  }
  const { chain, accessKeyId, secret, sessionToken } = found
  return { aws: { region, accessKeyId, sessionToken, chain }, credential: secret }
}

/** Files that hold parts of it. */
export function awsFiles(aws: Written['aws']): (string | null)[] {
  return [aws?.access_key_id_file ?? null, aws?.session_token_file ?? null]
}
