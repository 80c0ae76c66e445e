/** What people write who know other tools, and what it is here. */

const SAME: Readonly<Record<string, readonly string[]>> = {
  deny: ['block', 'forbid', 'reject', 'refuse', 'disallow', 'denied', 'refused', 'blocked'],
  allow: ['permit', 'accept', 'pass', 'grant', 'allowed', 'passed', 'permitted'],
  require: ['must', 'assert', 'enforce', 'ensure'],
  redact: ['mask', 'replace', 'anonymize', 'anonymise', 'sanitize'],
  set: ['clamp', 'override', 'modify', 'mutate'],
  when: ['if', 'condition', 'conditions', 'expression', 'expr', 'cel'],
  for: ['match', 'where', 'selector', 'selectors', 'target', 'targets', 'scope'],
  id: ['name', 'title'],
  message: ['description', 'reason', 'error'],
  shadow: ['dry-run', 'dryrun', 'audit', 'log', 'monitor', 'observe', 'report', 'off', 'disabled'],
  enforce: ['block', 'on', 'enabled', 'active', 'strict'],
  input: ['prompt', 'content', 'contents', 'text', 'texts', 'messages', 'body'],
  output: ['answer', 'answers', 'response', 'completion'],
  max_output_tokens: ['max_tokens', 'max_completion_tokens', 'num_predict'],
  at_most: ['max', 'maximum', 'cap', 'le', 'lte'],
  at_least: ['min', 'minimum', 'ge', 'gte'],
  time: ['now', 'date', 'datetime', 'timestamp'],
  size: ['len', 'length', 'count'],
  caller: ['user', 'principal', 'identity', 'auth'],
  exists: ['any', 'some'],
  roles: ['group', 'groups'],
  tenants: ['team', 'teams', 'org', 'namespace', 'namespaces'],
  matches: ['regex', 'regexp', 'pattern', 'match', 'contains'],
  words: ['keywords', 'keyword', 'terms', 'blocklist', 'denylist'],
  credential: ['api_key', 'apikey', 'api-key', 'key', 'token', 'secret', 'password'],
  url: ['base_url', 'baseurl', 'endpoint', 'host', 'api_base', 'address'],
  models: ['model'],
  operations: ['endpoints', 'paths', 'routes', 'actions'],
  policies: ['policy', 'rule', 'rules', 'guardrails', 'polices'],
  limits: ['rate_limits', 'ratelimits', 'quotas', 'budgets'],
  upstreams: ['provider', 'providers', 'backend', 'backends', 'targets'],
  expires: ['until', 'end', 'expiry', 'expires_at', 'valid_until'],
  approved_by: ['approver', 'owner', 'approvedby'],
  us_ssn: ['ssn', 'social_security'],
  credit_card: ['card', 'cards', 'pan', 'creditcard'],
  api_key: ['secret', 'secrets', 'api_keys', 'credentials'],
  chat: ['chat.completions', 'chat/completions', 'responses', 'messages', 'generatecontent'],
}

/** The name among `known` that is meant by a word of other tools; null where none is. */
export function meant(word: string, known: readonly string[]): string | null {
  const lower = word.toLowerCase()
  return known.find((name) => SAME[name]?.includes(lower) === true) ?? null
}
