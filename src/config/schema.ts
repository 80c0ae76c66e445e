import { OPERATIONS, UNINSPECTABLE_KINDS } from '../exchange.ts'
import { CHECKPOINTS, ROOT } from './schema-audit.ts'
import { AUTH, TLS } from './schema-auth.ts'
import { AWS } from './schema-aws.ts'
import { AZURE } from './schema-azure.ts'
import { DETECTOR_LIST } from './schema-detectors.ts'
import { exceptionsSpec } from './schema-exceptions.ts'
import { limitSpec, PRICES } from './schema-limits.ts'
import { OWNERSHIP } from './schema-ownership.ts'
import { SET } from './schema-set.ts'
import { SHIP } from './schema-ship.ts'
import { STORE } from './schema-store.ts'
import { TESTS } from './schema-tests.ts'
import { answerFields, output, searchFields } from './schema-texts.ts'
import { UPSTREAM_CARE } from './schema-upstreams.ts'
import {
  address,
  boolean,
  choice,
  defaulted,
  duration,
  expression,
  integer,
  list,
  map,
  names,
  optional,
  orExpression,
  record,
  required,
  secret,
  size,
  text,
} from './spec.ts'

/**
 * Every key of governance.yaml, once. The validator, the defaults, the JSON Schema and the reference in
 * config/README.md all come from this table; what two keys say together is in `resolve.ts`.
 */

const ID = /^[a-z0-9][a-z0-9_-]{0,63}$/
const LABEL = /^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$/
const MODEL = /^[^\s\p{Cc}]+$/u
const id = text('an id of a-z, 0-9, _ and -, at most 64 characters', ID, 64)
const labels = record(text('a label value'), { key: LABEL, max: 64 })

/** The longest expression, characters. */
const EXPRESSION_CHARS_MAX = 4096

const callFields = {
  tenants: optional(names('tenants'), 'The caller’s tenant.'),
  keys: optional(names('keys'), 'The caller’s key, by key id or key name.'),
  users: optional(names('users'), 'The caller’s user.'),
  roles: optional(names('roles'), 'One of the caller’s roles.'),
  labels: optional(labels, 'The caller’s labels; all given must be equal, values may hold `*`.'),
  operations: optional(names('operations'), `What is asked for: ${OPERATIONS.join(' ')}.`),
  models: optional(
    names('models'),
    'Every name of every model in the call, case-insensitively. `deny` needs one to match, `allow` all.',
  ),
  upstreams: optional(names('upstreams'), 'Where the call goes, by the upstream’s name.'),
}

/** Lower case, so that it is told from a model or a tenant. */
const OWN_OPERATION = /^[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*$/

const call = map('selectors', callFields)

const selectors = map('policy selectors', {
  ...callFields,
  input: optional(
    map('input', {
      ...searchFields,
      max_chars: optional(
        integer(1, 1_000_000_000),
        'A length of the prompt content, in UTF-16 units: most characters are one, an emoji two or more. In `deny` it matches when the length is exceeded; elsewhere it holds while the prompt is within it.',
      ),
      max_tokens: optional(
        integer(1, 1_000_000_000),
        'A length of the prompt in tokens, by the estimate that limits reserve by; it matches as `max_chars` does.',
      ),
    }),
    'What the prompt holds: every string of the body, keys and values.',
  ),
  output: optional(
    output,
    'What the answer holds, whole or streamed; in `deny`, and in `require` with `max_chars` alone. See [answers](#answers).',
  ),
  uninspectable: optional(
    list(choice([...UNINSPECTABLE_KINDS, '*']), { min: 1, max: 16 }),
    'Kinds of content in the call that nobody can read. `deny` needs one to match, `allow` all; an `allow` that names kinds lets them pass text policies, see [content nobody can read](#content-nobody-can-read).',
  ),
  when: optional(
    expression('an expression', EXPRESSION_CHARS_MAX),
    'A CEL expression over `request`, `caller` and `time` that must be true; see [expressions](#expressions).',
  ),
})

const redact = map('redact', {
  input: optional(
    map('redact.input', searchFields),
    'What is masked in the prompt: all that one of its fields finds.',
  ),
  output: optional(
    map('redact.output', answerFields),
    'What is masked in the answer, whole or streamed: all that one of its fields finds. See [answers](#answers).',
  ),
  restore: defaulted(
    boolean(),
    'false',
    'Puts values of `input` back where the answer to the same call has their placeholders. Only in calls in which every `redact` that masked something says so.',
  ),
})

const limit = limitSpec(call, id)

const upstream = map('upstreams', {
  name: required(
    text('a name of a-z, 0-9 and -, starting with a letter', /^[a-z][a-z0-9-]{0,62}$/, 63),
    'Unique, and not `v1`; the upstream is also mounted under `/<name>/…`.',
  ),
  dialect: required(
    choice(['openai', 'anthropic', 'azure-openai', 'gemini', 'bedrock', 'ollama']),
    'The provider’s API.',
  ),
  url: required(
    text('an http(s) URL or echo:', undefined, 2048),
    'Scheme, host and where needed a path prefix, like `https://api.openai.com`; the call brings its path, `/v1/…`. `echo:` is the built-in upstream for trying things out and takes options, like `echo:?pace=20ms`.',
  ),
  credential: optional(
    secret(),
    'What the provider gets as its key, as `${NAME}`; a literal only with `echo:`. Absent for servers that want none.',
  ),
  credential_file: optional(
    text('a path', undefined, 4096),
    'A file holding it instead, read when the configuration is loaded.',
  ),
  models: defaulted(
    list(text('a model pattern', MODEL), { min: 1, max: 1000 }),
    '["*"]',
    'Models it serves; `*` is the only wildcard. A call goes to the first upstream that knows its path and serves its model.',
  ),
  usage: optional(
    choice(['ask', 'observe']),
    '`ask` (for `openai` and `azure-openai`, and what is taken there when absent) adds `stream_options.include_usage` to streamed calls that lack it and takes the extra chunk out again; `observe` changes nothing, and is all there is for providers that report usage unasked.',
  ),
  inspect: optional(
    choice(['none']),
    '`none`: upgrades to WebSocket under `/<name>/…` are sent on unread, where a policy allows that; see [tunnels](#tunnels). Calls to it are inspected as ever. Absent: sessions are inspected, other upgrades refused.',
  ),
  aws: optional(
    AWS,
    'Of `bedrock`: signs calls with `credential` as secret access key. Absent, `credential` is an API key of Bedrock.',
  ),
  azure: optional(
    AZURE,
    'Of `azure-openai`, and of `openai` and `anthropic` at Azure: sends a token of Entra ID instead of a key; then without `credential`.',
  ),
  ...UPSTREAM_CARE,
})

const policy = map('policies', {
  id: required(id, 'Unique; named in refusals, metrics and entries.'),
  mode: optional(
    choice(['enforce', 'warn', 'shadow']),
    '`defaults.mode` when absent. `shadow` is recorded and decides and changes nothing; `warn` (`deny` and `require` only) lets the call pass with a warning header.',
  ),
  message: optional(
    expression('a message', 500),
    'What a refused client reads. Say what to do instead.',
  ),
  for: optional(selectors, 'Which calls it is about; absent means all.'),
  allow: optional(
    selectors,
    'Verb: lets calls pass for which all of it matches. `{}` is every call.',
  ),
  deny: optional(selectors, 'Verb: refuses calls for which all of it matches.'),
  require: optional(
    orExpression(selectors, 'an expression', EXPRESSION_CHARS_MAX),
    'Verb: refuses calls for which not all of it holds. An [expression](#expressions) may stand here instead of selectors.',
  ),
  redact: optional(
    redact,
    'Verb: puts placeholders like `[EMAIL_1]` in place of what is found; a call in which that cannot be done is refused.',
  ),
  set: optional(
    SET,
    'Verb: puts or clamps parameters of the request, where the endpoint has them. Of several policies the lowest value and the tightest bounds hold.',
  ),
})

/** The whole file. */
export const FILE = map('governance.yaml', {
  version: required(integer(1, 1), 'Always 1.'),
  listen: defaulted(
    map('listen', {
      proxy: defaulted(
        address(),
        '127.0.0.1:4141',
        'Where clients call: `OPENAI_BASE_URL=http://127.0.0.1:4141/v1`. Port 0 takes a free one.',
      ),
      tls: optional(
        TLS,
        'TLS on `listen.proxy`; rotated files are taken without a restart. Absent: plain HTTP.',
      ),
      admin: defaulted(
        address(),
        '127.0.0.1:4142',
        '`/livez`, `/readyz`, `/metrics` and the admin API, `/admin/v1`. Its `Host` must be this address or a name of loopback.',
      ),
      health: optional(
        address(),
        'The same three once more, for a kubelet and Prometheus outside the pod; off when absent.',
      ),
    }),
    '{}',
    'Addresses, as `host:port`.',
  ),
  upstreams: required(list(upstream, { min: 1, max: 100 }), 'Where calls may go, in order.'),
  auth: defaulted(AUTH, '{}', 'Who may call.'),
  limits: defaulted(
    list(limit, { min: 0, max: 100 }),
    '[]',
    'Every limit whose `for` matches applies, and all are charged or none.',
  ),
  limit_store: defaulted(
    STORE,
    'memory',
    'Where counters live. `memory` is this process alone. `redis://host:6379` (`rediss://` with TLS, `redis://${USER}:${PASSWORD}@host` with a user) is shared, and so is what the keys name; a change needs a restart.',
  ),
  sidecars: defaulted(
    integer(1, 100_000),
    '1',
    'How many sidecars share a `limit_store` at least; while it is lost, each lets the figures ÷ their number pass. They count themselves; this is for those that never reached it.',
  ),
  prices: defaulted(PRICES, '{}', 'What models cost.'),
  defaults: defaulted(
    map('defaults', {
      decision: defaulted(choice(['deny', 'allow']), 'deny', 'When no policy decided.'),
      on_error: defaulted(
        choice(['deny', 'allow']),
        'deny',
        'When a policy could not be evaluated.',
      ),
      unknown_operation: defaulted(
        choice(['deny', 'allow']),
        'deny',
        'When a path is under a dialect’s root but not in its table; [what `allow` lets pass](#unknown-endpoints).',
      ),
      uninspectable: defaulted(
        choice(['deny', 'allow']),
        'deny',
        'When a policy about text meets an image, audio, a file, token ids or a reference.',
      ),
      mode: defaulted(
        choice(['enforce', 'warn', 'shadow']),
        'enforce',
        'For policies that name none; with `warn`, `allow`, `redact` and `set` policies stay enforced.',
      ),
    }),
    '{}',
    'What holds where nothing else is said. All five start at the safe value.',
  ),
  sets: defaulted(
    record(list(text('a name'), { min: 1, max: 1000 }), { key: ID, max: 1000 }),
    '{}',
    'Lists with a name: `models: $approved` or `models: [$approved, gpt-4o]`.',
  ),
  aliases: defaulted(
    record(text('a model name', MODEL), { key: MODEL, max: 1000 }),
    '{}',
    'More names of a model: policies on `gpt-4o` also see calls to `smart` with `{ smart: gpt-4o }`.',
  ),
  policies: defaulted(
    list(policy, { min: 0, max: 1000 }),
    '[]',
    'Order never matters: any `deny` refuses, then any `require` that does not hold, then some `allow` allows, then `defaults.decision`. Each has exactly one verb.',
  ),
  detectors: defaulted(
    DETECTOR_LIST,
    '[]',
    'Detectors of your own, for `input.detect`; each has exactly one of `matches`, `presidio` and `openai_moderation`.',
  ),
  ownership: optional(
    OWNERSHIP,
    'Keeps what a tenant stores at a provider (files, responses, threads, batches …) from other tenants; `off`, `embedded` and `postgres` may stand here by themselves. Absent: off, and refused where several tenants are known of. See [what providers keep](#what-providers-keep).',
  ),
  audit: defaulted(
    map('audit', {
      path: defaulted(text('a path', undefined, 4096), 'data/audit.db', 'The log’s file.'),
      required: defaulted(
        boolean(),
        'true',
        'No record, no call. `false`: while the log cannot be written calls go on without a record, with `x-governor-audit: lost` in the answer; they are counted, and an entry says how many once it can.',
      ),
      ack: defaulted(
        choice(['disk', 'postgres']),
        'disk',
        'When an entry counts as recorded: after fsync on the local disk, or once PostgreSQL has it too, for volumes that die with the pod. Calls are then refused while PostgreSQL is away.',
      ),
      local_max: defaulted(size('16MiB', '1TiB'), '1GiB', 'The most the log may take on disk.'),
      content: defaulted(
        choice(['none', 'commitment', 'full']),
        'none',
        'What is kept of people. `commitment`: address and user agent of a caller, in a table beside the entries that `governor audit erase` can empty. `full`: prompts and answers too, the first 128 KiB of each, as they were forwarded and answered, encrypted with a key per caller; see [keeping prompts and answers](#keeping-prompts-and-answers).',
      ),
      retention: optional(
        duration('1d', '36500d'),
        'How long entries are kept: `governor audit prune` removes older ones that a checkpoint covers.',
      ),
      checkpoints: optional(
        CHECKPOINTS,
        'Where signed checkpoints are published, so that a log cut short or replaced is found.',
      ),
      root: optional(
        ROOT,
        'Where a root over all writers is published; `audit prune` then removes only what it covers.',
      ),
      ship: optional(
        SHIP,
        'Copies entries to one other place, in the background; absent: nowhere.',
      ),
    }),
    '{}',
    'The record of every call.',
  ),
  maximums: defaulted(
    map('maximums', {
      body: defaulted(size('1KiB', '256MiB'), '16MiB', 'A request body as received.'),
      decoded: defaulted(size('1KiB', '512MiB'), '32MiB', 'A request body after decoding.'),
      upload: optional(
        size('1KiB', '16GiB'),
        'A form with files as received; one above 1 MiB is [kept on disk](#forms-and-files). 64MiB when absent, or `body` where that is more.',
      ),
      spooled: optional(
        size('2KiB', '1TiB'),
        'All forms on disk at once, half of it for one key; at least twice `upload`. 256MiB when absent, or that.',
      ),
      in_flight: defaulted(
        size('1KiB', '16GiB'),
        '64MiB',
        'All request bodies held at once; at least `body` and `decoded` together. ' +
          'One key may hold a quarter of it beside its largest body.',
      ),
      json_depth: defaulted(integer(1, 256), '64', 'Nesting of a JSON body.'),
      streams: defaulted(
        integer(1, 100_000),
        '2000',
        'Calls open at once. Twice as many connections and 100 may be open; then the one that has been silent longest makes room.',
      ),
    }),
    '{}',
    'The most of everything that could grow.',
  ),
  timeouts: defaulted(
    map('timeouts', {
      client_headers: defaulted(duration('10ms', '5m'), '10s', 'For the request’s headers.'),
      client_body: defaulted(duration('10ms', '1h'), '60s', 'For the request’s body.'),
      connect: defaulted(duration('10ms', '5m'), '10s', 'To connect to an upstream.'),
      first_byte: defaulted(duration('10ms', '1d'), '15m', 'Until an upstream starts to answer.'),
      idle: defaulted(duration('10ms', '1d'), '5m', 'Between two pieces of an answer.'),
      commit: defaulted(duration('10ms', '1m'), '2s', 'Until an entry is durable; then 503.'),
      drain: defaulted(duration('10ms', '1h'), '25s', 'For open calls to end on shutdown.'),
    }),
    '{}',
    'The longest wait for everything that could hang.',
  ),
  exceptions: defaulted(
    exceptionsSpec(call),
    '[]',
    'What was approved against a policy, for whom and until when: [exceptions](#exceptions-to-policies).',
  ),
  look_alikes: defaulted(
    choice(['keep', 'latin']),
    'keep',
    'With `latin`, calls are also read with the letters of other scripts that look like Latin ones as those: [look-alikes](#look-alikes).',
  ),
  candidate: optional(
    text('a path', undefined, 4096),
    'A second file of this kind, evaluated whole beside this one and only recorded: [a candidate](#a-candidate).',
  ),
  operations: defaulted(
    list(text('an operation, like classify', OWN_OPERATION, 64), { min: 1, max: 64 }),
    '[]',
    'Operations of your own, for policies and limits on what is asked of `POST /v1/check` only.',
  ),
  tests: defaulted(
    TESTS,
    '[]',
    'Tests of the policies: `governor test` runs them, a running Governor does not.',
  ),
})
