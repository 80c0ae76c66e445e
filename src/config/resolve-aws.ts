import type { Path } from './problem.ts'
import type { Report } from './report.ts'
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
  { aws, dialect, url }: Pick<Written, 'aws' | 'dialect' | 'url'>,
  credential: string | null,
  { report, at, options }: Context,
): Pick<UpstreamConfig, 'aws'> {
  if (aws === null) return {}
  const here = [...at, 'aws']
  report.check(here, dialect === 'bedrock', `Only for "bedrock": remove it`)
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

/** Files that hold parts of it. */
export function awsFiles(aws: Written['aws']): (string | null)[] {
  return [aws?.access_key_id_file ?? null, aws?.session_token_file ?? null]
}
