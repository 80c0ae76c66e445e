import { zstdCompressSync } from 'node:zlib'

import t from 'tap'

import { FakeUpstream, stream } from '../support/fake-upstream.ts'
import { startGovernor, UPSTREAM_KEY } from '../support/start-governor.ts'
import { ANTHROPIC, OPENAI_CHAT, OPENAI_RESPONSES } from '../support/wires.ts'

/**
 * Goal: coding agents work by the settings that the guide names. Method: requests as they send them,
 * with their headers and the odd members of their bodies.
 */

const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: animals, deny: { input: { words: [zebra] } }, message: Zebras stay here }`
/** As the guide says for agents: what they carry along and nobody can read. */
const AGENTS = `
  - id: all
    allow: { operations: ['*'], models: ['*'], uninspectable: [encrypted] }
  - { id: animals, deny: { input: { words: [zebra] } }, message: Zebras stay here }`

const claude = (content: string) => ({
  model: 'claude-sonnet-4-5-20250929',
  max_tokens: 32_000,
  stream: true,
  system: [
    { type: 'text', text: 'You are an agent.', cache_control: { type: 'ephemeral', ttl: '1h' } },
  ],
  messages: [
    { role: 'user', content: [{ type: 'text', text: content }] },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'I look.', signature: 'c2lnbmF0dXJl' },
        { type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'ls -la' } },
      ],
    },
    {
      role: 'user',
      content: [
        {
          type: 'tool_result',
          tool_use_id: 'toolu_1',
          content: 'total 0',
          is_error: false,
          cache_control: { type: 'ephemeral' },
        },
      ],
    },
  ],
  tools: [
    {
      name: 'Bash',
      description: 'Runs a command',
      input_schema: {
        $schema: 'http://json-schema.org/draft-07/schema#',
        type: 'object',
        properties: { command: { type: 'string' } },
        required: ['command'],
        additionalProperties: false,
      },
    },
  ],
  thinking: { type: 'enabled', budget_tokens: 31_999 },
  context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
  metadata: { user_id: 'user_0_account__session_1' },
})

t.test('Claude Code: ANTHROPIC_BASE_URL and ANTHROPIC_AUTH_TOKEN', async (t) => {
  const upstream = await FakeUpstream.start(t, stream(ANTHROPIC.events))
  const site = await startGovernor(t, {
    dialect: 'anthropic',
    policies: POLICIES,
    upstream: upstream.url,
  })
  const passing = {
    accept: 'application/json',
    'anthropic-version': '2023-06-01',
    'anthropic-beta': 'claude-code-20250219,interleaved-thinking-2025-05-14,context-1m-2025-08-07',
    'user-agent': 'claude-cli/2.0.1 (external, cli)',
    'x-stainless-retry-count': '0',
  }
  const headers = {
    ...passing,
    'x-app': 'cli',
    'x-claude-code-session-id': '0199aa00-0000-7000-8000-000000000000',
    'anthropic-dangerous-direct-browser-access': 'true',
    // A key that is still in the environment is sent along; it is nobody's here.
    'x-api-key': 'sk-ant-api03-abcdefghijklmnopqrstuvwxyz',
  }
  const body = JSON.stringify(claude('Look around'))
  const answer = await site.send({ path: '/v1/messages?beta=true', headers, body })
  t.equal(answer.status, 200, answer.text)
  t.equal(answer.text, ANTHROPIC.events.join(''))
  t.equal(upstream.last?.path, '/v1/messages?beta=true')
  t.match(upstream.last?.headers, { ...passing, 'x-api-key': UPSTREAM_KEY })
  t.equal(upstream.last?.headers['x-claude-code-session-id'], undefined)
  t.equal(upstream.last?.body.toString(), body)
  t.notMatch(upstream.everything, 'sk-ant-api03')

  const { stream: _stream, max_tokens: _max, ...counted } = claude('Look around')
  const count = { path: '/v1/messages/count_tokens?beta=true', headers, body: counted }
  t.equal((await site.send(count)).status, 200)
  const before = upstream.received.length
  for (const hidden of [
    claude('a zebra'),
    JSON.parse(JSON.stringify(claude('a')).replace('ls -la', 'cat zebra')) as object,
    JSON.parse(JSON.stringify(claude('a')).replace('total 0', 'one zebra')) as object,
  ]) {
    const refused = await site.send({ path: '/v1/messages?beta=true', headers, body: hidden })
    t.match(refused.json, { type: 'error', error: { message: /Zebras stay here/ } })
  }
  t.equal(upstream.received.length, before)
})

const codex = (text: string) => ({
  model: 'gpt-5-codex',
  instructions: 'You are Codex.',
  input: [
    { type: 'message', role: 'developer', content: [{ type: 'input_text', text: 'Sandboxed.' }] },
    { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    { type: 'reasoning', summary: [{ type: 'summary_text', text: 'I look.' }], content: null },
    { type: 'function_call', name: 'shell', arguments: '{"command":["ls"]}', call_id: 'call_1' },
    { type: 'function_call_output', call_id: 'call_1', output: '{"output":"total 0"}' },
    {
      type: 'custom_tool_call',
      status: 'completed',
      call_id: 'call_2',
      name: 'apply_patch',
      input: '*** Begin Patch',
    },
    { type: 'custom_tool_call_output', call_id: 'call_2', output: 'Done' },
  ],
  tools: [
    {
      type: 'function',
      name: 'shell',
      description: 'Runs a command',
      strict: false,
      parameters: {
        type: 'object',
        properties: { command: { type: 'array', items: { type: 'string' } } },
      },
    },
    {
      type: 'custom',
      name: 'apply_patch',
      description: 'Edits files',
      format: { type: 'grammar', syntax: 'lark', definition: 'start: begin_patch hunk+' },
    },
  ],
  tool_choice: 'auto',
  parallel_tool_calls: false,
  reasoning: { effort: 'medium', summary: 'auto' },
  store: false,
  stream: true,
  include: ['reasoning.encrypted_content'],
  prompt_cache_key: '0199aa00-0000-7000-8000-000000000000',
})

t.test('Codex: a provider of its own with wire_api "responses"', async (t) => {
  const upstream = await FakeUpstream.start(t, stream(OPENAI_RESPONSES.events))
  const sections = { policies: AGENTS, upstream: upstream.url }
  const site = await startGovernor(t, { ...sections, usage: 'ask' })
  const headers = {
    accept: 'text/event-stream',
    version: '0.80.0',
    originator: 'codex_cli_rs',
    'session-id': '0199aa00-0000-7000-8000-000000000000',
    'user-agent': 'codex_cli_rs/0.80.0 (Linux; x86_64)',
  }
  const body = JSON.stringify(codex('Look around'))
  const answer = await site.send({ path: '/v1/responses', headers, body })
  t.equal(answer.status, 200, answer.text)
  t.equal(answer.text, OPENAI_RESPONSES.events.join(''))
  t.equal(upstream.last?.body.toString(), body)
  t.equal(upstream.last?.headers['session-id'], undefined)

  const zstd = zstdCompressSync(body)
  const compressed = await site.send({
    path: '/v1/responses',
    headers: { ...headers, 'content-encoding': 'zstd' },
    body: zstd,
  })
  t.equal(compressed.status, 200, 'compressed as it may be')
  t.equal(upstream.last?.body.toString(), body)

  const next = codex('Look around')
  const opaque = { type: 'reasoning', summary: [], encrypted_content: 'gAAAAABencrypted' }
  const encrypted = { ...next, input: [...next.input, opaque] }
  t.equal((await site.send({ path: '/v1/responses', headers, body: encrypted })).status, 200)
  const compact = { model: 'gpt-5-codex', instructions: 'Shorten.', input: next.input }
  t.equal((await site.send({ path: '/v1/responses/compact', headers, body: compact })).status, 200)
  const before = upstream.received.length
  const hidden = JSON.stringify(next).replace('total 0', 'one zebra')
  t.equal((await site.send({ path: '/v1/responses', headers, body: hidden })).status, 403)
  t.equal(upstream.received.length, before)
})

t.test(
  'Codex: reasoning that nobody can read needs an allow, and the refusal says so',
  async (t) => {
    const site = await startGovernor(t, { policies: POLICIES })
    const next = codex('Look around')
    const opaque = { type: 'reasoning', summary: [], encrypted_content: 'gAAAAABencrypted' }
    const body = { ...next, input: [...next.input, opaque] }
    const refused = await site.send({ path: '/v1/responses', body })
    t.equal(refused.status, 403)
    t.match(refused.json.error?.message, /encrypted/)
  },
)

t.test('aider and Continue: chat completions, with /v1 and without', async (t) => {
  const upstream = await FakeUpstream.start(t, stream(OPENAI_CHAT.events))
  const site = await startGovernor(t, { policies: POLICIES, upstream: upstream.url })
  const body = JSON.stringify({
    model: 'gpt-4o',
    messages: [
      { role: 'system', content: 'Act as an expert software developer.' },
      { role: 'user', content: 'Look around' },
    ],
    temperature: 0,
    stream: true,
  })
  for (const path of ['/v1/chat/completions', '/chat/completions']) {
    const answer = await site.send({ path, body })
    t.equal(answer.text, OPENAI_CHAT.events.join(''))
    t.equal(upstream.last?.path, '/v1/chat/completions')
    t.equal(upstream.last?.body.toString(), body)
  }
})
