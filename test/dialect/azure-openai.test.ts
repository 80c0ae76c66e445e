import t from 'tap'

import { AZURE_ROWS, azureOpenai } from '../../src/dialect/azure-openai.ts'
import { GovernorError } from '../../src/errors.ts'
import type { Facts } from '../../src/exchange.ts'

function facts(path: string, body: object): Promise<Facts> {
  const found = azureOpenai.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  const { endpoint, pathModel } = found
  const route = { endpoint, dialect: azureOpenai, mount: null, path, pathModel }
  return azureOpenai.inspect(route, Buffer.from(JSON.stringify(body)), { jsonDepth: 64 })
}

const messages = [{ role: 'user', content: 'hello' }]

t.test('every path is of one of three forms and takes api-version', async (t) => {
  const lines = AZURE_ROWS.map(({ method, path }) => `${method} ${path}`)
  t.equal(new Set(lines).size, lines.length)
  for (const { path, endpoint } of AZURE_ROWS) {
    t.match(path, /^\/openai\/(?:v1|deployments\/\{model\}|[a-z_]+)/)
    t.ok(endpoint.query.includes('api-version'), path)
  }
  for (const path of [
    '/openai/v1/chat/completions',
    '/openai/deployments/gpt-4o/chat/completions',
    '/openai/deployments/gpt-4o/audio/speech',
    '/openai/responses',
    '/openai/threads/t/runs',
  ]) {
    t.equal(azureOpenai.lookup('POST', path).kind, 'endpoint', path)
  }
  for (const path of ['/v1/chat/completions', '/chat/completions']) {
    t.equal(azureOpenai.lookup('POST', path).kind, 'outside', path)
  }
  for (const path of [
    '/openai/chat/completions',
    '/openai/deployments/a/b/chat/completions',
    '/openai/deployments//chat/completions',
    '/openai/deployments/a/extensions/chat/completions',
    '/openai/realtime',
  ]) {
    t.equal(azureOpenai.lookup('POST', path).kind, 'unknown', path)
  }
  t.match(azureOpenai.lookup('POST', '/openai/chat/completions'), {
    hint: 'Use /openai/v1/chat/completions: the base URL ends in /openai/v1',
  })
})

t.test('the deployment is a model, and so is the one in the body', async (t) => {
  const path = '/openai/deployments/gpt-4o/chat/completions'
  const { model, models } = await facts(path, { messages })
  t.strictSame({ model, models }, { model: 'gpt-4o', models: ['gpt-4o'] })
  t.strictSame((await facts(path, { model: 'gpt-5', messages })).models, ['gpt-4o', 'gpt-5'])
  const speech = '/openai/deployments/tts/audio/speech'
  t.strictSame((await facts(speech, { input: 'a' })).models, ['tts'])
  await t.rejects(facts('/openai/deployments/../chat/completions', { messages }), GovernorError)
  await t.rejects(facts('/openai/v1/chat/completions', { messages }), GovernorError)
})
