import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

/** Goal: the page about clients names all of those that are installed, each with a test that runs it. */

const config = join(import.meta.dirname, '..', 'config')
const page = readFileSync(join(config, 'clients.md'), 'utf8')
const rows = [...page.matchAll(/^\| `([^`]+)` +\|.*\]\((\.\.\/test\/[^)]+)\) +\|$/gm)].map(
  ([, name = '', link = '']) => ({ name, link }),
)
const CLIENT = /openai|anthropic|genai|ai-sdk\/|mistral|cohere|ollama|bedrock/

t.test('config/clients.md names every client that is installed', async (t) => {
  const packageFile = readFileSync(join(config, '..', 'package.json'), 'utf8')
  const { devDependencies } = JSON.parse(packageFile) as { devDependencies: object }
  const clients = Object.keys(devDependencies).filter((name) => CLIENT.test(name))
  t.strictSame(rows.map(({ name }) => name).toSorted(), clients.toSorted())
})

t.test('config/clients.md links to a test that runs the client', async (t) => {
  for (const { name, link } of rows) {
    t.match(readFileSync(join(config, link), 'utf8'), `from '${name}'`, name)
  }
})

t.test('config/clients.md links only to files that are there', async (t) => {
  for (const [, link = ''] of page.matchAll(/\]\((?!http|#)([^)#]+)/g)) {
    t.ok(existsSync(join(config, link)), link)
  }
})
