import t from 'tap'

import { foreignHint } from '../../src/http/foreign.ts'

t.test('foreignHint() names the provider whose path it is', async (t) => {
  for (const [path, api] of [
    ['/v1/messages', 'Anthropic'],
    ['/messages', 'Anthropic'],
    ['/v1/messages/count_tokens', 'Anthropic'],
    ['/openai/deployments/gpt-4o/chat/completions', 'Azure OpenAI'],
    ['/v1beta/models/gemini-2.5-flash:generateContent', 'Gemini'],
    ['/v1/models/gemini-2.5-flash:generateContent', 'Gemini'],
    ['/api/chat', 'Ollama'],
    ['/model/anthropic.claude%3A0/converse-stream', 'Amazon Bedrock'],
    ['/v1/chat/completions', 'OpenAI'],
    ['/v2/chat', 'Cohere'],
    ['/v2/embed', 'Cohere'],
    ['/v1/embed', 'Cohere'],
    ['/v1/fim/completions', 'Mistral'],
    ['/v1/chat/moderations', 'Mistral'],
  ] as const) {
    t.match(foreignHint(path, []), `a path of ${api}`, path)
  }
})

t.test('foreignHint() says nothing of other paths, nor where such an upstream is', async (t) => {
  t.match(
    foreignHint('/v1beta1/publishers/google/models/g:generateContent', ['gemini']),
    'Vertex AI is not supported',
  )
  t.match(foreignHint('/guardrail/g/version/1/apply', ['bedrock']), 'Of Amazon Bedrock only')
  for (const path of ['/', '/metrics', '/v1', '/v1/nothing', '/admin']) {
    t.equal(foreignHint(path, []), undefined, path)
  }
  t.equal(foreignHint('/v1/messages/x', ['openai', 'anthropic']), undefined)
  t.match(foreignHint('/v1/messages/x', ['openai']), 'dialect anthropic')
  t.match(foreignHint('/v2/chat', ['anthropic']), 'dialect openai')
  t.match(foreignHint('/v1/chat', ['openai', 'anthropic']), 'version 2 are supported')
})
