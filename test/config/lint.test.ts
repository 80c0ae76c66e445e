import t from 'tap'

import { parseConfig } from '../../src/load-config.ts'

const HEAD =
  'version: 1\nupstreams: [{ name: echo, dialect: openai, url: "echo:", models: MODELS }]\n'

/** What lint says of some lines of a file: `line:col path rule message`. */
function lint(text: string, { forRun = false, models = '["*"]', nowMs = 0 } = {}): string[] {
  const yaml = `${HEAD.replace('MODELS', models)}${text}`
  const loaded = parseConfig('governance.yaml', Buffer.from(yaml), { env: {}, forRun, nowMs })
  if (!loaded.ok) throw new Error(loaded.problems[0]?.message)
  return loaded.notes
    .filter(({ rule }) => rule !== undefined)
    .map(({ line, column, path, rule, message }) => `${line}:${column} ${path} ${rule} ${message}`)
}

function policies(...lines: readonly string[]): string {
  return `policies:\n${lines.map((line) => `  - ${line}\n`).join('')}`
}

const OFFERED = '{ id: offered, allow: { operations: [chat, models], models: ["gpt-4o*"] } }'

t.test('lint() says nothing of a file that means what it says', async (t) => {
  const text = `sets: { small: ["gpt-4o*"] }\naliases: { smart: gpt-4o }\n${policies(
    '{ id: offered, allow: { operations: [chat, embeddings], models: $small } }',
    '{ id: interns, deny: { roles: [intern], models: ["gpt-5*"] } }',
    '{ id: leads, for: { roles: [lead] }, deny: { models: ["gpt-5*"] } }',
    '{ id: research, for: { models: ["o3*"] }, require: { roles: [research] } }',
    '{ id: narrow, for: { operations: [chat] }, require: { models: ["gpt-*", "o3*"] } }',
  )}`
  t.strictSame(lint(text), [])
})

t.test('lint() is for check, and silent where a file is to run', async (t) => {
  t.strictSame(lint(policies('{ id: all, allow: {} }'), { forRun: true }), [])
})

t.test('lint() finds what covers every call', async (t) => {
  t.strictSame(
    lint(
      `defaults: { decision: allow }\n${policies(
        '{ id: all, allow: {} }',
        '{ id: text, deny: { roles: [x], input: { matches: "(secret)?" } } }',
      )}`,
    ),
    [
      '3:23 defaults.decision too-wide What no policy is about passes: `deny`, and an allow for what may, is safer',
      '5:23 policies[0].allow too-wide Allows every call of everybody: name operations, models or callers',
      '6:55 policies[1].deny.input.matches too-wide Matches every text, an empty one too',
    ],
  )
  t.match(lint(policies('{ id: none, deny: {} }')), [/too-wide Refuses every call/])
})

t.test('lint() finds policies that can never match', async (t) => {
  t.strictSame(
    lint(
      policies(OFFERED, '{ id: a, for: { operations: [chat] }, deny: { operations: [models] } }'),
    ),
    ['5:5 policies[1] unreachable Never matches: `for` and `deny` have no operations in common'],
  )
  t.strictSame(
    lint(policies('{ id: a, for: { tenants: ["eu-*"] }, deny: { tenants: ["*-bank"] } }')),
    [],
  )
  t.strictSame(
    lint(policies('{ id: a, for: { tenants: ["eu-*"] }, deny: { tenants: ["us-*"] } }')).length,
    1,
  )
  t.strictSame(lint(policies(OFFERED), { models: '["llama-*", o3]' }), [
    '4:65 policies[0].allow.models unreachable Never allows: no upstream serves any of these models',
  ])
  t.strictSame(lint(policies(OFFERED), { models: '["GPT-4o-mini"]' }), [])
})

t.test('lint() finds an allow that a deny takes back whole', async (t) => {
  const interns = '{ id: interns, deny: { roles: [intern, "temp-*"] } }'
  t.strictSame(
    lint(policies(interns, '{ id: small, for: { roles: [intern] }, allow: { models: [a] } }')),
    ['5:5 policies[1] unreachable Never allows: "interns" refuses everything it is about'],
  )
  t.strictSame(lint(policies(interns, '{ id: small, allow: { models: [a] } }')), [])
  t.strictSame(
    lint(
      policies(
        interns.replace('deny', 'mode: warn, deny'),
        '{ id: small, allow: { roles: [intern] } }',
      ),
    ),
    [],
  )
  // Listing models names none, so a deny on models does not see it.
  const all = '{ id: none, deny: { models: ["gpt-*"] } }'
  t.strictSame(lint(policies(all, OFFERED)), [])
  t.match(lint(policies(all, OFFERED.replace(', models]', ']'))), [/Never allows: "none" refuses/])
})

t.test('lint() finds a policy that adds nothing', async (t) => {
  t.strictSame(lint(policies(OFFERED, OFFERED.replace('id: offered', 'id: again'))), [
    '5:5 policies[1] unreachable Adds nothing: "offered" allows all of it already',
  ])
  const wide = '{ id: wide, deny: { models: ["gpt-5*"] } }'
  const narrow = '{ id: narrow, deny: { models: [gpt-5-pro], labels: { tier: a } }, message: Ask }'
  t.match(lint(policies(wide, narrow)), [/policies\[1\] unreachable Adds nothing: "wide" refuses/])
  // The other way round, the narrow one gives its own message.
  t.strictSame(lint(policies(narrow, wide)), [])
  const text = '{ id: a, deny: { input: { words: [zeus] } } }'
  t.match(lint(policies(text, '{ id: b, deny: { roles: [x], input: { words: [zeus] } } }')), [
    /Adds nothing/,
  ])
  t.strictSame(
    lint(policies(text, '{ id: b, deny: { roles: [x], input: { words: [hera] } } }')),
    [],
  )
})

t.test('lint() finds a require on models that hits calls without one', async (t) => {
  const message =
    'Also refuses operations that name no model, like `models`: add `for: { operations: [chat] }`'
  t.strictSame(lint(policies('{ id: a, require: { models: ["gpt-*"] } }')), [
    `4:33 policies[0].require.models require-models ${message}`,
  ])
  t.equal(
    lint(policies('{ id: a, for: { operations: [chat, models] }, require: { models: [a] } }'))
      .length,
    1,
  )
  t.strictSame(
    lint(policies('{ id: a, for: { models: ["gpt-*"] }, require: { models: [gpt-4o] } }')),
    [],
  )
})

t.test('lint() finds shadows, and names nobody uses', async (t) => {
  t.strictSame(
    lint(
      `sets: { used: [a], idle: [b] }\naliases: { smart: gpt-4o, small: llama-3 }\n${policies(
        '{ id: a, mode: shadow, deny: { models: [$used, "gpt-4*"] } }',
      )}`,
    ),
    [
      '3:26 sets.idle unused-set No selector names this set',
      '4:34 aliases.small unused-alias No selector is about "llama-3", nor about its alias',
      '6:20 policies[0].mode shadow In shadow: it is recorded and decides nothing',
    ],
  )
  const limit = 'limits: [{ id: a, per: key, concurrent: 1, for: { tenants: $idle } }]\n'
  t.strictSame(lint(`sets: { idle: [b] }\n${limit}`), [])
})

function exception(id: string, expires: string, rest = 'for: { keys: [ci] }'): string {
  return `  - { id: ${id}, policy: no-frontier, ${rest}, reason: a, approved_by: b, expires: ${expires} }\n`
}

t.test('lint() tells of exceptions before they end, after, and when they are wide', async (t) => {
  const nowMs = Date.parse('2027-01-10T12:00:00Z')
  const text = `${policies(
    OFFERED,
    '{ id: no-frontier, for: { operations: [chat] }, deny: { models: ["gpt-5*"] } }',
    '{ id: tried, mode: shadow, deny: { models: ["gpt-5*"] } }',
  )}exceptions:\n${[
    exception('ended', '2027-01-09'),
    exception('today', '2027-01-10'),
    exception('soon', '2027-02-08'),
    exception('fine', '2027-02-09T12:00:01Z'),
    exception('long', '2028-01-31'),
    exception('wide', '2027-06-30', 'for: {}'),
    exception('apart', '2027-06-30', 'for: { operations: [embeddings] }'),
    exception('idle', '2027-06-30').replace('policy: no-frontier', 'policy: tried'),
  ].join('')}`
  const expected = [
    '8:96 exceptions[0].expires exception-ended Ended at 2027-01-10T00:00Z: it lifts nothing any more, remove it or have it approved anew',
    '9:96 exceptions[1].expires exception-ending Ends at 2027-01-11T00:00Z, in less than a day: then "no-frontier" holds again',
    '10:95 exceptions[2].expires exception-ending Ends at 2027-02-09T00:00Z, in 29 days: then "no-frontier" holds again',
  ]
  t.strictSame(lint(text, { forRun: true, nowMs }), expected, 'also where it is to run')
  t.strictSame(
    lint(text, { nowMs }).filter((line) => line.includes('exceptions')),
    [
      ...expected,
      '12:95 exceptions[4].expires exception-long Lasts longer than a year: let it end earlier and be approved again',
      '13:5 exceptions[5] too-wide Lifts "no-frontier" from every call: name keys, tenants or roles in `for`',
      '14:44 exceptions[6].for unreachable Lifts nothing: it and "no-frontier" have no operations in common',
      '15:25 exceptions[7].policy unreachable Lifts nothing: "tried" is in shadow',
    ],
  )
})

t.test('lint() finds names that were meant as something else', async (t) => {
  const found = lint(
    policies(
      OFFERED,
      '{ id: a, deny: { models: ["gpt-5", "gpt-4.*"] } }',
      '{ id: b, for: { users: ["^ada$"] }, deny: { models: [o3] } }',
      '{ id: c, deny: { roles: ["intern,guest"] } }',
      '{ id: d, deny: { tenants: [“acme”] } }',
      '{ id: e, deny: { models: ["ft:gpt-4o:acme:x:1", "gpt-4.1*", "openai/*", "a(b"] } }',
    ),
  )
  t.strictSame(
    found.filter((line) => line.includes('no-pattern')),
    [
      '5:30 policies[1].deny.models no-pattern "gpt-4.*" looks like a regular expression: in names only * has a meaning',
      '6:28 policies[2].for.users no-pattern "^ada$" looks like a regular expression: in names only * has a meaning',
      '7:29 policies[3].deny.roles no-pattern "intern,guest" is one name: write a list, [a, b]',
      '8:31 policies[4].deny.tenants no-pattern The quotes of "“acme”" are typographic, and part of the name',
      '9:30 policies[5].deny.models no-pattern "a(b" looks like a regular expression: in names only * has a meaning',
    ],
  )
})

t.test('lint() finds texts that were meant otherwise', async (t) => {
  t.strictSame(
    lint(
      policies(
        OFFERED,
        '{ id: a, deny: { input: { matches: "/zeus/i" } } }',
        '{ id: b, deny: { input: { words: [zeus], detect: [email], max_chars: 9 } } }',
        '{ id: c, deny: { output: { words: [zeus], matches: hermes } } }',
        '{ id: d, deny: { input: { words: [zeus], max_chars: 9 } } }',
        '{ id: e, redact: { input: { words: [zeus], matches: hermes } } }',
        '{ id: f, deny: { models: ["gpt-5 gpt-4"] } }',
      ),
    ),
    [
      '5:40 policies[1].deny.input.matches no-pattern The slashes are part of the pattern; for /…/i write (?i)…',
      '6:29 policies[2].deny.input all-of Refuses only where `detect` and `words` all find something: for any of them write a policy each',
      '7:30 policies[3].deny.output all-of Refuses only where `matches` and `words` all find something: for any of them write a policy each',
      '10:30 policies[6].deny.models no-pattern "gpt-5 gpt-4" is one name: write a list, [a, b]',
    ],
  )
})

t.test('lint() finds a test whose call no policy would ever see', async (t) => {
  const tests = `tests:
  - { name: a, request: { operation: models }, expect: { decision: allow } }
  - { name: b, request: { input: hi }, expect: { decision: deny } }
  - { name: c, request: { operation: embeddings }, expect: { decision: deny } }
`
  t.strictSame(lint(`${policies(OFFERED)}${tests}`), [
    "7:25 tests[1].request test-model Names no model, and policies are about models: a client's chat without one is answered 400 before them; so do 1 more",
  ])
  const other = '{ id: open, allow: { operations: [chat, embeddings, models] } }'
  t.strictSame(lint(`${policies(other)}${tests}`), [], 'nobody asks for it')
})
