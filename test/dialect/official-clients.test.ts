import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import type { Row } from '../../src/dialect/table.ts'
import { CLOSED, TABLES } from './coverage.ts'

/**
 * Goal: whatever a provider's own client can call is either a row of our table or closed with a reason. The
 * list is made from the client's source: a new version of it fails this test until somebody has decided.
 */

const MODULES = join(import.meta.dirname, '..', '..', 'node_modules')
/** `this._client.post(path`/videos/${videoID}/remix`, …)`, and what its options say up to the end. */
const CALL = /\.(get|post|put|patch|delete|getAPIList)\(\s*(?:path\s*)?(['`])(\/[^'`]*)\2([^;]*)/g

function sources(folder: string, ending: string): string[] {
  const names = readdirSync(join(MODULES, folder), { recursive: true, encoding: 'utf8' })
  return names
    .filter((name) => name.endsWith(ending))
    .map((name) => readFileSync(join(MODULES, folder, name), 'utf8'))
}

/** `POST /v1/videos/{}/remix` of a client that is generated from its provider's specification. */
function callsOf(folder: string, prefix: string): string[] {
  const calls = new Set<string>()
  for (const source of sources(folder, '.mjs')) {
    for (const [, verb = '', , path = '', options = ''] of source.matchAll(CALL)) {
      const isPost = options.includes("method: 'post'")
      const method = verb === 'getAPIList' ? (isPost ? 'POST' : 'GET') : verb.toUpperCase()
      const plain = path.split('?')[0]!.replaceAll(/\$\{[^}]*\}/g, '{}')
      calls.add(`${method} ${prefix}${plain}`)
    }
  }
  return [...calls].sort()
}

const callOf = ({ method, path }: Row) => `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`

function isClosed(dialect: string, path: string): boolean {
  return (CLOSED[dialect] ?? []).some(({ paths }) => paths.test(path.replaceAll('{}', 'id_1')))
}

/** Calls that are neither, those that are both, and how many are opened. */
function decided(dialect: string, calls: readonly string[]) {
  const opened = new Set(TABLES[dialect]!.map(callOf))
  const closed = (call: string) => isClosed(dialect, call.split(' ')[1]!)
  return {
    neither: calls.filter((call) => !opened.has(call) && !closed(call)),
    both: [...opened].filter(closed),
    openedCount: calls.filter((call) => opened.has(call)).length,
  }
}

t.test('every call of the client of OpenAI is opened or closed', async (t) => {
  const calls = callsOf('openai', '/v1')
  for (const known of [
    'POST /v1/chat/completions',
    'POST /v1/vector_stores/{}/search',
    'GET /v1/organization/users',
  ]) {
    t.ok(calls.includes(known), `its source is understood: ${known}`)
  }
  const { neither, both, openedCount } = decided('openai', calls)
  t.strictSame(neither, [])
  t.strictSame(both, [])
  t.ok(openedCount > 130, `${openedCount} of ${calls.length}`)
})

t.test('every call of the client of Anthropic is opened or closed', async (t) => {
  const calls = callsOf('@anthropic-ai/sdk', '')
  const { neither, both, openedCount } = decided('anthropic', calls)
  t.strictSame(neither, [])
  t.strictSame(both, [])
  t.ok(openedCount >= 14, `${openedCount} of ${calls.length}`)
})

/** Whole names of things, which stand below the parts that are here; and what Vertex AI alone has. */
const ELSEWHERE = /^\{(?!model\})\w+\}|tuningJobs|batchPredictionJobs|:computeTokens$/

t.test('every call of the client of Gemini is opened or closed', async (t) => {
  const [source = ''] = sources('@google/genai/dist/node', 'index.mjs')
  const names = [...source.matchAll(/formatMap\('([^']*)'/g)].map(([, name = '']) => name)
  const paths = [...new Set(names)]
    .filter((name) => !ELSEWHERE.test(name))
    .map((name) =>
      name.startsWith('upload/')
        ? `/${name.replace('{api_version}', 'v1beta')}`
        : `/v1beta/${name.replace('{model}', 'models/{}')}`,
    )
    .map((path) => path.split('?')[0]!.replaceAll(/\{\w+\}/g, '{}'))
  const opened = new Set(TABLES['gemini']!.map((row) => callOf(row).split(' ')[1]!))
  t.ok(paths.length > 12, `its source is understood: ${paths.length}`)
  t.strictSame(
    paths.filter((path) => !opened.has(path) && !isClosed('gemini', path)),
    [],
  )
})

t.test('every call of the client of Ollama is opened or closed', async (t) => {
  const found = sources('ollama/dist', '.mjs').flatMap((source) => [
    ...source.matchAll(/(?:\/api\/|(?:streamable\w*|Request)\(\s*['"])(\w+)/g),
  ])
  const paths = [...new Set(found.map(([, name = '']) => `/api/${name}`))]
  t.ok(paths.includes('/api/chat') && paths.includes('/api/tags'), paths.join())
  const opened = new Set(TABLES['ollama']!.map(({ path }) => path))
  // Of Ollama's own service, at another host.
  const elsewhere = new Set(['/api/web_search', '/api/web_fetch'])
  t.strictSame(
    paths.filter((path) => !opened.has(path) && !isClosed('ollama', path) && !elsewhere.has(path)),
    [],
  )
})
