import { hash } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

import t from 'tap'

import { open } from '../support/client.ts'
import { FakeUpstream, redirect } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

t.setTimeout(180_000)

/**
 * Goal: whatever the provider, a streamed call passes byte for byte, is heard as it comes, ends with the
 * provider's own error when it breaks, and stops at the provider when its client leaves.
 */

interface Provider {
  readonly path: string
  readonly body: object
  readonly type: string
  /** Pieces of one stream, cut where no event ends; the last one is its end. */
  readonly pieces: readonly string[]
  /** What the client reads after the first piece when the provider breaks off. */
  readonly broken: RegExp
  /** A refusal by policy. */
  readonly refused: object
}

const messages = [{ role: 'user', content: 'héllo \u{1f600} \\ "q"' }]
const chunk = '{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}'
const OPENAI = {
  body: { stream: true, model: 'm-1', messages, temperature: 1.5 },
  type: 'text/event-stream',
  pieces: [`: hi\n\ndata: ${chunk}\n\nda`, 'ta: {"choices":[]}\r\n\r\n', 'data: [DO', 'NE]\n\n'],
  broken: /\n\ndata: \{"error":\{"message":"The upstream broke off/,
  refused: { error: { type: 'policy_violation', code: 'policy_denied' } },
}
const PROVIDERS: Readonly<Record<string, Provider>> = {
  openai: { ...OPENAI, path: '/v1/chat/completions' },
  'azure-openai': {
    ...OPENAI,
    path: '/openai/deployments/m-1/chat/completions?api-version=2024-10-21',
  },
  anthropic: {
    path: '/v1/messages?beta=true',
    body: { model: 'm-1', max_tokens: 9, stream: true, messages },
    type: 'text/event-stream; charset=utf-8',
    pieces: [
      'event: message_start\ndata: {"type":"message_start","message":{"model":"m-1"}}\n\nevent: pi',
      'ng\ndata: {"type": "ping"}\n\n',
      'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ],
    broken: /\n\nevent: error\ndata: \{"type":"error","error":\{"type":"api_error"/,
    refused: { type: 'error', error: { type: 'permission_error' } },
  },
  gemini: {
    path: '/v1beta/models/m-1:streamGenerateContent?alt=sse',
    body: { contents: [{ role: 'user', parts: [{ text: 'hi \u00e9' }] }] },
    type: 'text/event-stream',
    pieces: [
      'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\nda',
      'ta: {"candidates":[{"finishReason":"STOP"}]}\r\n\r\n',
    ],
    broken: /\n\ndata: \{"error":\{"code":502,/,
    refused: { error: { code: 403, status: 'PERMISSION_DENIED' } },
  },
  ollama: {
    path: '/api/chat',
    body: { model: 'm-1', messages },
    type: 'application/x-ndjson',
    pieces: ['{"message":{"content":"a"},"done":false}\n{"mess', 'age":{},"done":true}\n'],
    broken: /\{"error":"The upstream broke off/,
    refused: { error: /Policy denied/ },
  },
}

const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: words, deny: { input: { words: [zebra] } } }`

for (const [dialect, provider] of Object.entries(PROVIDERS)) {
  const { path, body, type, pieces } = provider
  const begin = (response: ServerResponse) => response.writeHead(200, { 'content-type': type })
  t.test(dialect, async (t) => {
    const upstream = await FakeUpstream.start(t)
    const sections = { dialect, policies: POLICIES, usage: 'observe' as const }
    const site = await startGovernor(t, { ...sections, upstream: upstream.url })
    await t.test(`a stream passes byte for byte, both ways`, async (t) => {
      upstream.behaviour = async (_received, response) => {
        begin(response)
        for (const piece of pieces) {
          response.write(piece)
          await new Promise((resolve) => setImmediate(resolve))
        }
        response.end()
      }
      const sent = JSON.stringify(body, null, 1)
      const answer = await site.send({ path, body: sent })
      t.equal(answer.text, pieces.join(''))
      t.equal(answer.headers['content-type'], type)
      t.equal(upstream.last?.body.toString(), sent)
      t.equal(upstream.last?.path, path)
      const [decision, outcome] = await site.entriesOf(
        String(answer.headers['x-governor-request-id']),
        2,
      )
      t.match(JSON.stringify(decision?.body), hash('sha256', sent))
      t.match(outcome?.body, { outcome: 'complete', status: 200 })
    })

    await t.test(`a stream that breaks says so in the provider's words`, async (t) => {
      upstream.behaviour = (_received, response) => {
        begin(response).end(pieces[0])
      }
      const { text } = await site.send({ path, body })
      t.ok(text.startsWith(pieces[0]!))
      t.match(text.slice(pieces[0]!.length), provider.broken)
    })

    await t.test(`a client that leaves stops the call`, async (t) => {
      upstream.behaviour = (_received, response) => void begin(response).write(pieces[0])
      const { response } = await open(site.url, { key: site.key, path, body })
      await once(response, 'data')
      response.destroy()
      await until('the upstream call to be cut', () => upstream.last?.closedEarly)
      const id = String(response.headers['x-governor-request-id'])
      const [, outcome] = await site.entriesOf(id, 2)
      t.match(outcome?.body, { outcome: 'client_closed' })
    })

    await t.test(`a refusal, a redirect and an error have the provider's shape`, async (t) => {
      const before = upstream.received.length
      const hidden = JSON.stringify(body).replace('"m-1"', '"m-1","user":"a zebra"')
      const text = hidden.includes('zebra') ? hidden : hidden.replace('hi', 'zebra hi')
      const refused = await site.send({ path, body: text })
      t.equal(refused.headers['x-governor-policy'], 'words')
      t.equal(refused.headers['x-should-retry'], 'false')
      t.match(refused.json, provider.refused)
      t.equal(upstream.received.length, before)
      upstream.behaviour = redirect('http://127.0.0.1:1/')
      const redirected = await site.send({ path, body })
      t.equal(redirected.headers['x-governor-code'], 'UPSTREAM_REDIRECT')
      upstream.behaviour = (_received, response) => {
        response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '7' })
        response.end('{"error":"slow down"}')
      }
      const limited = await site.send({ path, body })
      t.equal(limited.status, 429)
      t.equal(limited.text, '{"error":"slow down"}')
      t.equal(limited.headers['retry-after'], '7', "the provider's own")
      t.equal(limited.headers['x-governor-code'], undefined)
    })
  })
}
