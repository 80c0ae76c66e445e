/**
 * What of a provider's API is known and refused whatever a policy or `defaults.unknown_operation` says, since
 * no control of this proxy would hold on it. A caller is told the reason.
 */

/** A part of an API. */
export interface Closed {
  /** The paths in words. */
  readonly what: string
  /** Matches a raw path without query. */
  readonly paths: RegExp
  /** A sentence: why, and what to use instead where there is something. */
  readonly why: string
}

/** The part at and below each of `roots`, whole segments such as `/v1/uploads`. */
export function closedUnder(roots: readonly string[], why: string): Closed {
  const paths = new RegExp(`^(?:${roots.join('|')})(?:/|$)`)
  return { what: roots.map((root) => `\`${root}\``).join(', '), paths, why }
}

/** Why a raw path without query is closed; undefined where it is not. */
export function closedHint(closed: readonly Closed[], path: string): string | undefined {
  return closed.find(({ paths }) => paths.test(path))?.why
}

/** Of OpenAI, and of those who serve its API. */
export const OPENAI_CLOSED: readonly Closed[] = [
  closedUnder(
    ['/v1/uploads'],
    'No part of a file can be looked at by itself: upload it whole to /v1/files.',
  ),
  closedUnder(
    ['/v1/realtime', '/v1/live', '/v1/chatkit'],
    'It hands out a credential or begins a call that goes around Governor: open a WebSocket at /v1/realtime here.',
  ),
  closedUnder(
    ['/v1/agents', '/v1/vaults'],
    'Agents at the provider act by themselves, with credentials kept there: nothing of that passes here.',
  ),
  closedUnder(
    ['/v1/webhook_endpoints', '/v1/webhook_event_types', '/v1/safety'],
    'It is for whoever runs the account at the provider, not for applications.',
  ),
  closedUnder(
    ['/v1/organization', '/v1/projects', '/v1/fine_tuning/checkpoints'],
    'Administration of the account takes a key that applications are not lent.',
  ),
]

/** Of Anthropic's API. */
export const ANTHROPIC_CLOSED: readonly Closed[] = [
  closedUnder(
    [
      '/v1/agents',
      '/v1/deployment_runs',
      '/v1/deployments',
      '/v1/dreams',
      '/v1/environments',
      '/v1/memory_stores',
      '/v1/sessions',
      '/v1/tunnels',
      '/v1/vaults',
    ],
    'Agents at the provider act by themselves, with what is kept there: nothing of that passes here.',
  ),
  closedUnder(
    ['/v1/organizations', '/v1/user_profiles'],
    'Administration of the account takes a key that applications are not lent.',
  ),
  closedUnder(
    ['/v1/skills'],
    'A skill is a program, and a list of them cannot be kept apart: use those of the provider, by name.',
  ),
  closedUnder(['/v1/complete'], 'Text completions are of former models: use /v1/messages.'),
]

const VERSION = '/v1(?:alpha|beta)?'

/** Below all versions of Google's API. */
function closedAtGoogle(what: string, below: string, why: string): Closed {
  return { what, paths: new RegExp(`^${VERSION}/${below}`), why }
}

/** Of Google's Gemini API. */
export const GEMINI_CLOSED: readonly Closed[] = [
  closedAtGoogle(
    '`/v1beta/auth_tokens`',
    'auth_tokens(?:/|$)',
    'Ephemeral tokens would go around it: open the session here, with a Governor key',
  ),
  {
    what: '`/upload/…`, `/v1beta/files`, `/v1beta/fileSearchStores`',
    paths: new RegExp(`^/upload/|^${VERSION}/(?:files|fileSearchStores)(?:[:/]|$)`),
    why: 'No part of a file can be looked at by itself: send what is small inline.',
  },
  closedAtGoogle(
    '`/v1beta/cachedContents`',
    'cachedContents(?:/|$)',
    'A cache is a prompt that later calls do not show.',
  ),
  closedAtGoogle(
    '`/v1beta/batches`, `:batchGenerateContent`, `:asyncBatchEmbedContent`',
    '(?:batches(?:[:/]|$)|models/[^/]+:(?:batchGenerateContent|asyncBatchEmbedContent)$)',
    'Batches of this API are not supported in this version.',
  ),
  closedAtGoogle(
    '`:predict`, `:predictLongRunning`, `/v1beta/operations`',
    '(?:models/[^/]+:predict(?:LongRunning)?$|(?:models/[^/]+/)?operations(?:/|$))',
    'Predictions are not supported in this version; images are at /v1beta/openai/images/generations.',
  ),
  closedAtGoogle(
    '`/v1beta/tunedModels`, `/v1beta/interactions`, `/v1beta/agents`',
    '(?:tunedModels|tuningJobs|interactions|agents)(?:[:/]|$)',
    'What acts or is trained at the provider by itself does not pass here.',
  ),
]

/** Of Ollama's own API. */
export const OLLAMA_CLOSED: readonly Closed[] = [
  closedUnder(
    ['/api/pull', '/api/push', '/api/create', '/api/copy', '/api/delete', '/api/blobs'],
    'It changes the server: whoever runs it does that there.',
  ),
]
