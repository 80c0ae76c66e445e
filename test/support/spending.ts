import { chat } from './client.ts'
import { CHAT_ANSWER } from './fake-upstream.ts'
import type { InProcess } from './start-governor.ts'
import { until } from './until.ts'

/** What tests of limits on tokens and cost share. */

/** An answer that reports so many tokens. */
export function used(prompt: number, completion: number, model = 'gpt-4o'): object {
  const usage = { prompt_tokens: prompt, completion_tokens: completion }
  return { ...CHAT_ANSWER, model, usage }
}

/** A small prompt, for an answer of at most so many tokens. */
export function capped(tokens: number): object {
  return chat('hi', { max_tokens: tokens })
}

/** Resolves once no call is under way. */
export async function settled(site: InProcess): Promise<void> {
  await until('calls to end', async () => (await site.metric('governor_inflight_requests')) === 0)
}

/** What the first outcome says was counted here. */
export async function estimatedOf(site: InProcess): Promise<number> {
  const outcome = await until('an outcome', () =>
    site.entries().find(({ kind }) => kind === 'outcome'),
  )
  return Number(outcome.body['estimated_tokens'])
}

/** What a small call is told is left of tokens. */
export async function remaining(site: InProcess): Promise<number> {
  await settled(site)
  const { headers } = await site.send({ body: capped(1) })
  return Number(headers['x-governor-ratelimit-remaining-tokens'] ?? -1)
}
