import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { check } from '../../src/cli/check.ts'
import { test } from '../../src/cli/test.ts'
import { REPOSITORY } from '../support/cli.ts'

const FOLDER = join(REPOSITORY, 'config/policies')
const env = { OPENAI_API_KEY: 'sk-1', OPENAI_EU_API_KEY: 'sk-2' }

t.test('every file in config/policies loads, and its tests cover every policy', async (t) => {
  const names = readdirSync(FOLDER)
  t.ok(names.length >= 8)
  for (const name of names) {
    let out = ''
    const write = (text: string) => void (out += text)
    const common = { files: [join(FOLDER, name)], env, write }
    t.equal(await test({ ...common, coverageMin: 100, junit: null }), 0, `${name}\n${out}`)
    t.match(out, /coverage 100 %/)
    t.equal(check({ ...common, format: 'text', print: false, version: 'test' }), 0, out)
  }
})
