import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { Test } from 'tap'

/** A provider on a free port that answers chat calls when it is told to, and notes who asks. */
export interface Provider {
  readonly url: string
  /** `authorization` of the calls so far. */
  readonly credentials: (string | undefined)[]
  /** Resolves with the answer of the next call whose body holds `slow`, to be ended by the test. */
  readonly slow: Promise<() => void>
}

const ANSWER = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'gpt-4o-mini',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 2, completion_tokens: 1, total_tokens: 3 },
})

/** Starts one; it ends with the test. */
export async function startProvider(t: Test): Promise<Provider> {
  const credentials: (string | undefined)[] = []
  const { promise: slow, resolve: onSlow } = Promise.withResolvers<() => void>()
  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    credentials.push(request.headers.authorization)
    let body = ''
    for await (const chunk of request) body += String(chunk)
    if (body.includes('slow')) onSlow(() => answer(response))
    else answer(response)
  }
  const server = createServer((request, response) => {
    receive(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, credentials, slow }
}

function answer(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(ANSWER)
}
