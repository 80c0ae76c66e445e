import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { governor } from '../support/cli.ts'

const HEAD = `version: 1
upstreams: [{ name: echo, dialect: openai, url: "echo:", models: ["gpt-*", "text-*"] }]
policies:
  - { id: offered, allow: { operations: [chat], models: ["gpt-4o*"] } }
  - { id: no-frontier, deny: { models: ["gpt-5*"] }, message: "Ask <platform> & wait" }
  - { id: codename, mode: shadow, deny: { input: { words: [zeus] } } }
`
const PASSING = `${HEAD}tests:
  - { name: small ones pass, request: { model: gpt-4o, input: hello }, expect: { decision: allow } }
  - name: frontier is refused
    request: { model: gpt-5, input: ask zeus }
    expect: { decision: deny, policy: no-frontier, reason: Ask <platform> & wait, why: models }
`
const FAILING = `${HEAD}tests:
  - { name: passes, request: { model: gpt-4o }, expect: { decision: allow, policy: offered } }
  - name: '"quoted" & <angled>'
    request: { model: gpt-5, input: ask zeus }
    expect: { decision: allow }
  - name: by another policy, for another reason
    request: { model: gpt-5 }
    expect: { decision: deny, policy: codename, reason: No, why: input.words }
  - { name: nobody serves it, request: { model: o3 }, expect: { decision: allow } }
`

t.test('test runs all tests and prints a line each', async (t) => {
  const cwd = t.testdir({ 'governance.yaml': PASSING })
  t.strictSame(await governor(['test', '--coverage-min', '100'], cwd), {
    code: 0,
    err: '',
    out: `governance.yaml
  ✓ small ones pass
  ✓ frontier is refused
governance.yaml: 2 tests, coverage 100 % (3 of 3 policies)
`,
  })
})

t.test('test says what was expected, what came, and which policies matched why', async (t) => {
  const cwd = t.testdir({ 'a.yaml': FAILING })
  t.strictSame(await governor(['test', 'a.yaml'], cwd), {
    code: 1,
    err: '',
    out: `a.yaml
  ✓ passes
  ✗ "quoted" & <angled>
      decision: expected allow, got deny
      decided: deny by no-frontier: Ask <platform> & wait
      no-frontier  enforce  denied  models
      codename  shadow  denied  input.words
  ✗ by another policy, for another reason
      policy: expected codename, got no-frontier
      reason: expected No, got "Ask <platform> & wait"
      why: expected input.words, got none
      decided: deny by no-frontier: Ask <platform> & wait
      no-frontier  enforce  denied  models
  ✗ nobody serves it
      decision: expected allow, got deny
      decided: deny: No upstream serves this model: "o3"
      no policy matched
a.yaml: 3 of 4 tests failed, coverage 100 % (3 of 3 policies)
`,
  })
})

t.test('test exits 1 when less is covered than asked for', async (t) => {
  const cwd = t.testdir({
    'a.yaml': `${HEAD}tests:\n  - { name: a, request: { model: gpt-4o }, expect: { decision: allow } }\n`,
  })
  const ran = await governor(['test', '--coverage-min', '80', 'a.yaml'], cwd)
  t.equal(ran.code, 1)
  t.strictSame(ran.out.split('\n').slice(2, -1), [
    'a.yaml: 1 test, coverage 0 % (0 of 3 policies)',
    '  not covered  offered: it matches in every test',
    '  not covered  no-frontier: no test in which it matches',
    '  not covered  codename: no test in which it matches',
    '0 % of the policies are covered, and 80 % are asked for',
  ])
  t.equal((await governor(['test', 'a.yaml'], cwd)).code, 0)
})

t.test('test prints the problems of a file and goes on with the next', async (t) => {
  const cwd = t.testdir({
    'bad.yaml': `${HEAD}tests:\n  - { name: a, request: {}, expect: { decision: deny, policy: codname } }\n`,
    'good.yaml': PASSING,
  })
  const ran = await governor(['test', 'bad.yaml', 'good.yaml', '--junit', 'out.xml'], cwd)
  t.equal(ran.code, 1)
  t.match(
    ran.out,
    `bad.yaml:8:63  tests[0].expect.policy  Unknown policy "codname": did you mean "codename"?\n` +
      '  8 |   - { name: a, request: {}, expect: { decision: deny, policy: codname } }\n' +
      `    | ${' '.repeat(62)}^\n1 problem.\n`,
  )
  t.match(ran.out, 'good.yaml: 2 tests')
  t.match(readFileSync(join(cwd, 'out.xml'), 'utf8'), '<failure message="bad.yaml:8:63  tests')
})

t.test('test exits 2 when it cannot read, cannot write or is called wrongly', async (t) => {
  const cwd = t.testdir({ 'governance.yaml': PASSING })
  t.equal((await governor(['test', 'none.yaml'], cwd)).code, 2)
  t.equal((await governor(['test', '--coverage-min', '101'], cwd)).code, 2)
  const ran = await governor(['test', '--junit', 'none/out.xml'], cwd)
  t.equal(ran.code, 2)
  t.match(ran.err, /Cannot write none\/out\.xml: /)
})

t.test('test --junit writes XML that needs no mercy', async (t) => {
  const cwd = t.testdir({ 'a.yaml': FAILING })
  const args = ['test', 'a.yaml', '--junit', 'out.xml', '--coverage-min', '100']
  t.equal((await governor(args, cwd)).code, 1)
  t.equal(
    readFileSync(join(cwd, 'out.xml'), 'utf8'),
    `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="governor test" tests="4" failures="3">
  <testsuite name="a.yaml" tests="4" failures="3">
    <testcase classname="a.yaml" name="passes"/>
    <testcase classname="a.yaml" name="&quot;quoted&quot; &amp; &lt;angled&gt;">
      <failure message="decision: expected allow, got deny">decision: expected allow, got deny
no-frontier enforce denied: models
codename shadow denied: input.words</failure>
    </testcase>
    <testcase classname="a.yaml" name="by another policy, for another reason">
      <failure message="policy: expected codename, got no-frontier">policy: expected codename, got no-frontier
reason: expected No, got &quot;Ask &lt;platform&gt; &amp; wait&quot;
why: expected input.words, got none
no-frontier enforce denied: models</failure>
    </testcase>
    <testcase classname="a.yaml" name="nobody serves it">
      <failure message="decision: expected allow, got deny">decision: expected allow, got deny</failure>
    </testcase>
  </testsuite>
</testsuites>
`,
  )
})

t.test('test compares what goes on, and says what would', async (t) => {
  const cwd = t.testdir({
    'governance.yaml': `version: 1
upstreams: [{ name: echo, dialect: openai, url: "echo:" }]
policies:
  - { id: open, allow: {} }
  - { id: mask, redact: { input: { detect: [email], words: [zeus] } } }
  - { id: later, mode: shadow, redact: { input: { words: [hermes] } } }
  - { id: cap, for: { models: [gpt-4o] }, set: { max_output_tokens: { default: 10, at_most: 20 }, service_tier: flex } }
tests:
  - name: as it is said
    request: { model: gpt-4o, input: ["Zeus: a@b.org", "c@b.org, a@b.org, hermes"] }
    expect:
      decision: allow
      redacted: ["[WORD_1]: [EMAIL_1]", "[EMAIL_2], [EMAIL_1], hermes"]
      set: { max_output_tokens: 10, service_tier: flex }
  - name: within bounds
    request: { model: gpt-4o, input: hello, max_output_tokens: 15 }
    expect: { decision: allow, redacted: hello, set: { max_output_tokens: 15 } }
  - name: otherwise
    request: { model: gpt-5, input: a@b.org }
    expect: { decision: allow, redacted: a@b.org, set: { max_output_tokens: 10 } }
`,
    'request.json': '{"model":"gpt-4o","input":"ask a@b.org","max_output_tokens":21}',
  })
  const { code, out } = await governor(['test'], cwd)
  t.equal(code, 1)
  t.match(out, '✓ as it is said')
  t.match(out, '✓ within bounds')
  t.match(out, '      redacted: expected ["a@b.org"], got ["[EMAIL_1]"]')
  t.match(out, '      set max_output_tokens: expected 10, got null')
  const explained = await governor(['explain', 'request.json'], cwd)
  t.match(explained.out, 'goes on with "ask [EMAIL_1]"\ngoes on with max_output_tokens 20\n')
})
