import type { InProcess } from '../support/start-governor.ts'

/** Makes a chat call and returns its request id once its decision is in the audit. */
export async function chat(site: InProcess, model: string, content: string): Promise<string> {
  const { headers } = await site.send({
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json' },
    body: { model, messages: [{ role: 'user', content }] },
  })
  const id = String(headers['x-governor-request-id'])
  await site.entriesOf(id, 1)
  return id
}
