import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

/** Goal: the page about clients names those that are installed and tested, and no others. */

const config = join(import.meta.dirname, '..', 'config')
const page = readFileSync(join(config, 'clients.md'), 'utf8')
const rows = [...page.matchAll(/^\| `([^`]+)` +\|.*\[(client-[a-z-]+)\]\(([^)]+)\) +\|$/gm)].map(
  ([, name = '', title = '', link = '']) => ({ name, title, link }),
)

t.test('config/clients.md names every client that is tested, and each test is there', async (t) => {
  const tests = readdirSync(join(import.meta.dirname, 'e2e'))
    .filter((file) => file.startsWith('client-') && file !== 'client-leaves-upstream-stops.test.ts')
    .map((file) => file.replace('.test.ts', ''))
  t.strictSame(new Set(rows.map(({ title }) => title)), new Set(tests))
  for (const { title, link } of rows) t.equal(link, `../test/e2e/${title}.test.ts`)
})

t.test(
  'config/clients.md names every client that is installed, and its test imports it',
  async (t) => {
    const packageFile = readFileSync(join(config, '..', 'package.json'), 'utf8')
    const { devDependencies } = JSON.parse(packageFile) as { devDependencies: object }
    for (const { name, link } of rows) {
      t.ok(name in devDependencies, name)
      t.match(readFileSync(join(config, link), 'utf8'), `from '${name}'`, name)
    }
    const clients = Object.keys(devDependencies).filter((name) =>
      /openai|anthropic|genai|mistral|cohere|ollama|bedrock|langchain\/openai/.test(name),
    )
    t.strictSame(rows.map(({ name }) => name).toSorted(), clients.toSorted())
  },
)

t.test('config/clients.md links only to files that are there', async (t) => {
  for (const [, link = ''] of page.matchAll(/\]\((?!http|#)([^)#]+)/g)) {
    t.ok(existsSync(join(config, link)), link)
  }
})
