import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { env, execPath } from 'node:process'

import t from 'tap'

import { type InProcess, ROOT, startGovernor } from '../support/start-governor.ts'

/** Goal: the variables that config/clients.md names are enough: no line of an application is changed. */

const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: animals, deny: { input: { words: [zebra] } }, message: Zebras stay here }`
const PROGRAM = join(ROOT, 'test/support/sdk-by-environment.ts')

function run(client: string, content: string, settings: object): Promise<object> {
  const { PATH, HOME } = env
  return new Promise((resolve, reject) => {
    const options = { env: { PATH, HOME, ...settings } }
    execFile(execPath, [PROGRAM, client, content], options, (error, stdout) => {
      if (error === null) resolve(JSON.parse(stdout) as object)
      else reject(error)
    })
  })
}

const openai = ({ url, key }: InProcess) => ({
  OPENAI_BASE_URL: `${url}/v1`,
  OPENAI_API_KEY: key,
})
const anthropic = ({ url, key }: InProcess) => ({
  ANTHROPIC_BASE_URL: url,
  ANTHROPIC_API_KEY: key,
})
const CLIENTS: Readonly<Record<string, readonly [string, (site: InProcess) => object]>> = {
  openai: ['openai', openai],
  '@langchain/openai': ['openai', openai],
  '@ai-sdk/openai': ['openai', openai],
  '@anthropic-ai/sdk': ['anthropic', anthropic],
  '@ai-sdk/anthropic': [
    'anthropic',
    (site) => ({ ...anthropic(site), ANTHROPIC_BASE_URL: `${site.url}/v1` }),
  ],
  '@google/genai': [
    'gemini',
    ({ url, key }) => ({ GOOGLE_GEMINI_BASE_URL: url, GEMINI_API_KEY: key }),
  ],
}

for (const [client, [dialect, settings]] of Object.entries(CLIENTS)) {
  t.test(`${client}: set up by its environment alone`, async (t) => {
    const site = await startGovernor(t, { dialect, policies: POLICIES })
    t.strictSame(await run(client, 'Say hello', settings(site)), { said: 'echo: Say hello' })
    t.match(await run(client, 'a zebra', settings(site)), { message: /Zebras stay here/ })
  })
}
