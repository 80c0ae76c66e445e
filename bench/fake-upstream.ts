import { createServer, type ServerResponse } from 'node:http'

import { answers, listening, pause } from './ipc.ts'

/**
 * A provider that costs next to nothing: one prepared answer of about 1 KB, or a stream of chunks at
 * an even pace. Pace and length come from the bench, not from the request, which stays a usual one.
 */

let pace = { chunks: 10, paceMs: 25 }
answers('pace', (question) => {
  pace = question as typeof pace
  return {}
})

const HEAD = { id: 'chatcmpl-bench', created: 1_760_000_000, model: 'gpt-4o-mini-2024-07-18' }
const USAGE = { prompt_tokens: 212, completion_tokens: 128, total_tokens: 340 }
const SENTENCE = 'The harbour is quiet in the morning and the boats come back before noon. '

const ANSWER = Buffer.from(
  JSON.stringify({
    ...HEAD,
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: SENTENCE.repeat(9).trim(), refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: USAGE,
    service_tier: 'default',
    system_fingerprint: 'fp_bench',
  }),
)

function frame(choices: object[], usage: object | null): string {
  return `data: ${JSON.stringify({ ...HEAD, object: 'chat.completion.chunk', choices, usage })}\n\n`
}

const CHUNK = frame(
  [{ index: 0, delta: { content: ' harbour' }, logprobs: null, finish_reason: null }],
  null,
)
/** Where a chunk says when it was written: the clock of the machine, µs, the same in every process. */
const [BEFORE_STAMP = '', AFTER_STAMP = ''] = CHUNK.split(HEAD.id)

function stamped(): string {
  const nowUs = process.hrtime.bigint() / 1000n
  return `${BEFORE_STAMP}t${String(nowUs).padStart(16, '0')}${AFTER_STAMP}`
}

const LAST = frame([{ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' }], null)
const USED = frame([], USAGE)
const DONE = 'data: [DONE]\n\n'

async function stream(response: ServerResponse, asksUsage: boolean): Promise<void> {
  const { chunks, paceMs } = pace
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  const startedMs = performance.now()
  for (let sent = 0; sent < chunks && !response.destroyed; sent++) {
    // Against the start, not the last chunk: late timers must not add up.
    await pause(Math.max(0, startedMs + sent * paceMs - performance.now()))
    response.write(stamped())
  }
  response.end(LAST + (asksUsage ? USED : '') + DONE)
}

const ANSWER_HEADERS = [
  'content-type',
  'application/json',
  'content-length',
  String(ANSWER.length),
  'x-request-id',
  'req_bench',
]

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    if (body.includes('"stream":true')) void stream(response, body.includes('"include_usage":true'))
    else response.writeHead(200, ANSWER_HEADERS).end(ANSWER)
  })
})
listening(server)
