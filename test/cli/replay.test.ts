import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { governor } from '../support/cli.ts'
import { configText, type InProcess, startGovernor } from '../support/start-governor.ts'
import { chat } from './calls.ts'

const POLICIES = `
  - { id: offered, allow: { operations: [chat], models: ["gpt-4o*"] } }
  - { id: no-frontier, deny: { models: ["gpt-5*"] }, message: Ask first }
  - { id: codename, mode: shadow, deny: { input: { words: [zeus] } } }
  - { id: long, mode: warn, deny: { input: { max_chars: 40 } } }`

/** Writes a candidate and replays against it; `lines` are those of the report. */
async function replay(site: InProcess, policies: string, ...args: readonly string[]) {
  const file = join(site.directory, 'next.yaml')
  writeFileSync(file, configText({ policies }))
  const { code, stdout } = await site.cli('replay', '--against', file, ...args)
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.trim())
  return { code, stdout, lines: lines.filter((line) => line !== '').slice(1) }
}

t.test('replay tells what a candidate would change, by policy', async (t) => {
  const site = await startGovernor(t, { policies: POLICIES })
  const ids: string[] = []
  for (const [model, content] of [
    ['gpt-4o', 'hello'],
    ['gpt-4o', 'ask zeus'],
    ['gpt-5', 'hello'],
    ['gpt-4o-mini', 'a question that is longer than forty characters'],
  ] as const) {
    ids.push(await chat(site, model, content))
  }

  const same = await replay(site, `${POLICIES} # only a comment`)
  t.strictSame([same.code, same.lines], [0, ['4  the same', '0  would change']])

  const enforced = await replay(site, POLICIES.replace('mode: shadow, ', ''))
  t.strictSame(
    [enforced.code, enforced.lines],
    [1, ['3  the same', '1  would change', `1  would be refused  codename  e.g. ${ids[1]}`]],
  )

  const strict = await replay(site, POLICIES.replace('mode: warn, ', '').replace('gpt-5*', 'gpt-5'))
  t.strictSame(
    [strict.code, strict.lines],
    [1, ['3  the same', '1  would change', `1  would be refused  long  e.g. ${ids[3]}`]],
  )

  const open = await replay(
    site,
    POLICIES.replace('"gpt-4o*"', '"gpt-*"').replace('["gpt-5*"]', '["gpt-6*"]'),
  )
  t.strictSame(
    [open.code, open.lines],
    [
      1,
      [
        '3  the same',
        '1  would change',
        `1  would be let through  now: no-frontier  e.g. ${ids[2]}`,
      ],
    ],
  )

  const renamed = await replay(
    site,
    POLICIES.replace('no-frontier', 'frontier').replace('id: long', 'id: length'),
  )
  t.strictSame(
    [renamed.code, renamed.lines.slice(0, 2), renamed.lines.slice(2).sort()],
    [
      1,
      ['2  the same', '2  would change'],
      [
        `1  would be refused by another policy  frontier  e.g. ${ids[2]}`,
        `1  would get a warning  length  e.g. ${ids[3]}`,
        `1  would get no warning  long  e.g. ${ids[3]}`,
      ],
    ],
  )
})

t.test('replay counts apart what needs a text that was not recorded', async (t) => {
  const site = await startGovernor(t, { policies: POLICIES })
  await chat(site, 'gpt-4o', 'hello')
  await chat(site, 'gpt-5', 'hello')
  const { code, lines } = await replay(
    site,
    POLICIES.replace(
      'mode: shadow, deny: { input: { words: [zeus]',
      'deny: { input: { words: [hera]',
    ),
  )
  t.strictSame(
    [code, lines],
    [
      0,
      [
        '1  the same',
        '0  would change',
        '1  unknown: need what was not recorded',
        '1  unknown  codename',
      ],
    ],
  )
})

t.test('replay tells of calls that would find no upstream', async (t) => {
  const site = await startGovernor(t, { policies: POLICIES })
  const id = await chat(site, 'gpt-4o', 'hello')
  await chat(site, 'gpt-5', 'hello')
  const file = join(site.directory, 'next.yaml')
  const text = configText({ policies: POLICIES })
  writeFileSync(file, text.replace('usage:', "models: ['llama-*'], usage:"))
  const { code, stdout } = await site.cli('replay', '--against', file)
  t.equal(code, 1)
  t.match(stdout, `1  would find no upstream  none serves the model  e.g. ${id}\n`)
})

t.test('replay knows names of keys, and what an expression saw', async (t) => {
  const site = await startGovernor(t, { policies: POLICIES })
  const id = await chat(site, 'gpt-4o', 'hello')
  const keyed = await replay(site, `${POLICIES}\n  - { id: key, deny: { keys: [test] } }`)
  t.strictSame([keyed.code, keyed.lines.at(-1)], [1, `1  would be refused  key  e.g. ${id}`])
  const told = await replay(
    site,
    `${POLICIES}\n  - { id: cel, require: "request.input_chars > 10 && caller.key_name == 'test'" }`,
  )
  t.strictSame([told.code, told.lines.at(-1)], [1, `1  would be refused  cel  e.g. ${id}`])
})

t.test('replay leaves out what no policy was asked about, and what is older', async (t) => {
  const site = await startGovernor(t, { policies: POLICIES })
  await chat(site, 'gpt-4o', 'hello')
  await chat(site, 'no such model', 'hello')
  const all = await replay(site, POLICIES)
  t.equal(all.lines.at(-1), '1  beside them, refused before any policy was asked')
  const { code, stdout } = await replay(site, POLICIES, '--since', '1ms', '--json')
  t.equal(code, 0)
  t.match(JSON.parse(stdout), { decisions: 0, same: 0, changed: 0, unknown: 0, refused: 0 })
})

t.test('replay exits 2 without a log, without a candidate, and when called wrongly', async (t) => {
  const text = configText({ policies: POLICIES })
  const cwd = t.testdir({ 'governance.yaml': text, 'next.yaml': text, 'bad.yaml': 'version: 2\n' })
  t.match(await governor(['replay', '--against', 'next.yaml'], cwd), {
    code: 2,
    err: /There is no audit log at /,
  })
  t.match(await governor(['replay', '--against', 'bad.yaml'], cwd), {
    code: 2,
    err: /bad\.yaml:1:10 {2}version {2}Expected 1, found 2\n[^]*\n2 problems\. Nothing was replayed\./,
  })
  t.equal((await governor(['replay'], cwd)).code, 2)
  t.equal((await governor(['replay', '--against', 'next.yaml', '--since', '7'], cwd)).code, 2)
})

t.test(
  'replay tells what would be masked, and that a call that could not be was refused',
  async (t) => {
    const policies = `
  - { id: open, allow: {} }
  - { id: mask, redact: { input: { detect: [email] } } }`
    const site = await startGovernor(t, { policies })
    const masked = await chat(site, 'gpt-4o', 'mail a@b.org')
    await chat(site, 'gpt-4o', 'hello')
    const key = await site.send({
      body: {
        model: 'gpt-4o',
        messages: [{ role: 'user', content: 'hi' }],
        metadata: { 'a@b.org': 'x' },
      },
    })
    t.equal(key.status, 403)
    const refused = String(key.headers['x-governor-request-id'])

    const same = await replay(site, `${policies} # only a comment`)
    t.strictSame([same.code, same.lines], [0, ['3  the same', '0  would change']])

    const shadowed = await replay(site, policies.replace('id: mask,', 'id: mask, mode: shadow,'))
    t.strictSame(
      [shadowed.code, shadowed.lines],
      [
        1,
        [
          '1  the same',
          '2  would change',
          `1  would not be masked  mask  e.g. ${masked}`,
          `1  would be let through  now: mask  e.g. ${refused}`,
        ],
      ],
    )
    const { stdout } = await site.cli('explain', refused)
    t.match(stdout, 'could not be masked')
  },
)
