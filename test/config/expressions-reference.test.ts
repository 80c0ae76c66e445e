import { readFileSync } from 'node:fs'

import t from 'tap'

import { FIELDS } from '../../src/policy/expression-facts.ts'

t.test('config/README.md lists every field of an expression with its type', async (t) => {
  const guide = readFileSync(new URL('../../config/README.md', import.meta.url), 'utf8')
  const rows = [...guide.matchAll(/^\| `((?:request|caller|time)\.\w+)` +\| `([^`]+)` +\|/gm)]
  const listed = rows.map(([, field, type]) => [field, type])
  const wanted = Object.entries(FIELDS).flatMap(([root, fields]) =>
    Object.entries(fields).map(([name, type]) => [`${root}.${name}`, type]),
  )
  t.strictSame(listed, wanted)
})
