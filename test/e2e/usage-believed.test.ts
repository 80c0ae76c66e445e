import { join } from 'node:path'

import t from 'tap'

import { chat } from '../support/client.ts'
import { answer, CHAT_ANSWER, FakeUpstream } from '../support/fake-upstream.ts'
import { configText, InProcess } from '../support/start-governor.ts'

/**
 * Goal: no provider makes a call free, or a log unreadable, by what it says a call took. Method: what
 * servers are known to say, and what none could, through the running proxy and a restart.
 */

const LIMITS =
  '[{ id: tpm, per: tenant, tokens: 1M/h }, { id: usd, per: tenant, cost: 50 USD/day }]'
/** Of "hi" and "Hello there": what is counted here where nothing believable is said. */
const COUNTED = 9

const SAID: readonly (readonly [object | null, number])[] = [
  [{ prompt_tokens: 20, completion_tokens: 10 }, 30],
  [{ prompt_tokens: 20 }, 23],
  [{ completion_tokens: 10 }, 16],
  [{ prompt_tokens: 0, completion_tokens: 0 }, COUNTED],
  [{ prompt_tokens: -20, completion_tokens: -10 }, COUNTED],
  [{ prompt_tokens: '20', completion_tokens: 2.5 }, COUNTED],
  [{ prompt_tokens: 1e300, completion_tokens: null }, COUNTED],
  [{ prompt_tokens: Number.MAX_SAFE_INTEGER, completion_tokens: Number.MAX_SAFE_INTEGER }, COUNTED],
  [{ total_tokens: 30 }, COUNTED],
  [null, COUNTED],
]

t.test('usage that cannot be is not believed, and nothing that was answered is free', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = new InProcess(
    join(t.testdir(), 'site'),
    configText({ upstream: upstream.url, limits: LIMITS }),
  )
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  let charged = 0
  for (const [usage, tokens] of SAID) {
    upstream.behaviour = answer({ ...CHAT_ANSWER, usage })
    const { status, headers } = await site.send({ body: chat('hi') })
    t.equal(status, 200)
    const [, outcome] = await site.entriesOf(String(headers['x-governor-request-id']), 2)
    const { charged: said } = outcome!.body['limits'] as { charged: { amount: number }[] }
    t.equal(said[0]?.amount, tokens, JSON.stringify(usage))
    charged += tokens
  }
  await site.governor.stop(0)
  await site.open()
  t.notOk(site.logLines.some((line) => line.includes('damaged')))
  upstream.behaviour = answer()
  const { headers } = await site.send({ body: chat('hi') })
  const left = Number(headers['x-governor-ratelimit-remaining-tokens'])
  const reserved = 1_000_000 - charged - left
  t.ok(reserved > 1_000 && reserved < 1_100, 'what was charged is charged after a restart')
})
