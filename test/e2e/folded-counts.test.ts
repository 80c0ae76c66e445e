import t from 'tap'

import { chat, send } from '../support/client.ts'
import { configText, Site, startChild } from '../support/start-governor.ts'

/**
 * Goal: what is only counted in memory is in the audit when the sidecar was asked to stop. Method: refusals of
 * one key in one go and callers nobody knows, then SIGTERM at once.
 */

const REFUSALS = 60
const STRANGERS = 7

t.test('SIGTERM loses no refusal that was folded and no caller nobody knew', async (t) => {
  const site = new Site(t.testdir(), configText())
  const key = await site.createKey()
  const child = await startChild(t, site)
  const denied = { key, body: chat('x', { model: 'gpt-5' }) }
  const answers = await Promise.all(Array.from({ length: REFUSALS }, () => send(child.url, denied)))
  t.ok(answers.every(({ status }) => status === 403))
  const strangers = Array.from({ length: STRANGERS }, () => send(child.url, { body: chat('x') }))
  for (const { status } of await Promise.all(strangers)) t.equal(status, 401)
  t.equal(await child.kill('SIGTERM'), 0)

  const entries = site.entries()
  const refusals = entries.filter(({ body }) => body.decision === 'deny')
  const counts = refusals.map(({ body }) => Number(body['repeated'] ?? 1))
  t.equal(
    counts.reduce((sum, count) => sum + count, 0),
    REFUSALS,
  )
  t.ok(refusals.length < REFUSALS, `${refusals.length} entries tell of ${REFUSALS} refusals`)
  const unknown = entries.filter(({ kind }) => kind === 'unauthenticated')
  const codes = unknown.map(({ body }) => body['codes'] as Record<string, number>)
  t.equal(
    codes.reduce((sum, each) => sum + (each['AUTH_KEY_MISSING'] ?? 0), 0),
    STRANGERS,
  )
})
