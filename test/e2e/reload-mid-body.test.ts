import t from 'tap'

import { chat } from '../support/client.ts'
import { RawConnection } from '../support/raw-http.ts'
import { configText, startGovernor, writeConfig } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: the entry names the policies that decided, whatever was loaded meanwhile. */

t.test('an entry names the snapshot its call began with, not one loaded since', async (t) => {
  const site = await startGovernor(t)
  const former = site.governor.snapshot.digest
  const body = JSON.stringify(chat('slow'))
  const slow = await RawConnection.open(site.url)
  t.teardown(() => slow.destroy())
  slow.send(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${site.key}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 9)}`,
  )
  await until('its head to be read', async () => {
    return (await site.metric('governor_inflight_requests')) === 1
  })

  writeConfig(site.file, `${configText()}# another one\n`)
  await site.governor.reload(site.load())
  const next = site.governor.snapshot.digest
  t.not(next, former)
  slow.send(body.slice(9))
  const late = await slow.answer()
  t.equal(late.status, 200)
  const early = await site.send({ body: chat('quick') })

  const digestOf = async (requestId: string | undefined) => {
    const [decision] = await site.entriesOf(String(requestId), 2)
    return decision?.body['policy_digest']
  }
  t.equal(await digestOf(late.headers['x-governor-request-id']), former)
  t.equal(await digestOf(String(early.headers['x-governor-request-id'])), next)
  t.strictSame(
    site
      .entries()
      .flatMap(({ kind, body }) => (kind === 'policy.load' ? body['policy_digest'] : [])),
    [former, next],
  )
})
