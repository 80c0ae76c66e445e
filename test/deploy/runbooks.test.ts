import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execPath } from 'node:process'

import t from 'tap'

import { OWNER_ROLE, READER_ROLE, SHIPPER_ROLE } from '../../src/audit/postgres-schema.ts'
import { ERRORS } from '../../src/errors.ts'
import { createMetrics } from '../../src/metrics.ts'
import { REPOSITORY } from './support/image.ts'

// Goal: a runbook names nothing that does not exist. Method: look up every metric, code, command and link.

const DEPLOY = join(REPOSITORY, 'deploy')
const FILES = [
  'README.md',
  ...readdirSync(join(DEPLOY, 'runbooks')).map((name) => `runbooks/${name}`),
]
const METRICS = await createMetrics().registry.getMetricsAsJSON()
const NAMES = new Set([...METRICS.map(({ name }) => name), OWNER_ROLE, READER_ROLE, SHIPPER_ROLE])

/** Each command in a text, `audit tail`, with the options that it is given there. */
function commandsIn(text: string): ReadonlyMap<string, ReadonlySet<string>> {
  const commands = new Map<string, Set<string>>()
  for (const [, command = '', rest = ''] of text.matchAll(
    /`governor ((?:(?:keys|audit) )?[a-z]+)([^`|]*)/g,
  )) {
    const options = commands.get(command) ?? new Set()
    commands.set(command, options)
    for (const [option] of rest.matchAll(/--[a-z-]+/g)) options.add(option)
  }
  return commands
}

t.test('there is a runbook for each trouble that has one', (t) => {
  t.strictSame(FILES.slice(1).sort(), [
    'runbooks/audit-not-shipped.md',
    'runbooks/audit-unwritable.md',
    'runbooks/key-leaked.md',
    'runbooks/limits-not-shared.md',
    'runbooks/own-faults.md',
    'runbooks/upstream-failing.md',
  ])
  t.end()
})

for (const name of FILES) {
  t.test(`deploy/${name} names only what exists`, (t) => {
    const text = readFileSync(join(DEPLOY, name), 'utf8')
    for (const [metric] of text.matchAll(/\bgovernor_[a-z_]+/g)) t.ok(NAMES.has(metric), metric)
    for (const [, code = ''] of text.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g)) {
      t.ok(code in ERRORS || /^(OPENAI|NODE)_/.test(code), code)
    }
    for (const [, path = ''] of text.matchAll(/\]\(([^)#]+)\)/g)) {
      t.doesNotThrow(() => readFileSync(join(DEPLOY, name, '..', path)), path)
    }
    for (const [command, options] of commandsIn(text)) {
      const { status, stdout } = spawnSync(
        execPath,
        [join(REPOSITORY, 'src/main.ts'), ...command.split(' '), '--help'],
        { encoding: 'utf8' },
      )
      t.equal(status, 0, `governor ${command}`)
      for (const option of options) t.match(stdout, option, `governor ${command} ${option}`)
    }
    t.end()
  })
}
