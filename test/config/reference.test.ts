import { readFileSync } from 'node:fs'

import t from 'tap'

import { fallback } from '../../src/config/read.ts'
import { FILE } from '../../src/config/schema.ts'
import type { Shape } from '../../src/config/spec.ts'
import { generated, unformatted } from './generated.ts'

for (const { url, content } of generated()) {
  t.test(
    `jsonSchema() and referenceMarkdown() are what ${url.pathname.split('/').at(-1)} holds`,
    async (t) => {
      const same = unformatted(readFileSync(url, 'utf8')) === unformatted(content)
      t.ok(
        same,
        'out of date: run node_modules/.bin/node test/config/regenerate.ts --write, then oxfmt config',
      )
    },
  )
}

t.test(
  'schema.ts has a sentence for every key, and defaults that pass its own checks',
  async (t) => {
    const visit = (shape: Shape, path: string) => {
      if (shape.kind === 'list') visit(shape.item.shape, `${path}[]`)
      if (shape.kind === 'record') visit(shape.value.shape, `${path}.*`)
      if (shape.kind !== 'map') return
      for (const [key, field] of Object.entries(shape.fields)) {
        const here = `${path}.${key}`
        if (!field.doc.endsWith('.')) t.fail(`${here} has no sentence`)
        const written = typeof field.presence === 'object' ? field.presence.written : null
        const value = fallback(field)
        if (written !== null && (value === null || value === ''))
          t.fail(`${here} has a bad default`)
        visit(field.spec.shape, here)
      }
    }
    visit(FILE.shape, '')
    t.pass()
  },
)
