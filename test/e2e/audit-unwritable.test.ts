import { mkdtempSync, rmSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import t from 'tap'

import { decision, openWal } from '../audit/support/log.ts'
import { chat, send } from '../support/client.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { fill, smallDisk } from '../support/small-disk.ts'
import {
  configText,
  type InProcess,
  startGovernor,
  writeConfig,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: no record, no call. Method: take the disk away under a running sidecar, count what the
 * upstream hears, and give it back.
 */

const CALLS_MAX = 5000
const PAD = 'x'.repeat(60_000)

/** Calls until one is refused; answers how many passed. */
async function callUntilRefused(site: InProcess): Promise<number> {
  for (let passed = 0; passed < CALLS_MAX; passed++) {
    const { status } = await site.send({ body: chat(`call ${passed}`) })
    if (status === 503) return passed
    t.equal(status, 200)
  }
  throw new Error(`Still writable after ${CALLS_MAX} calls`)
}

async function refusesEverything(site: InProcess, upstream: FakeUpstream): Promise<void> {
  const before = upstream.received.length
  for (const body of [
    chat('allowed'),
    chat('denied', { model: 'gpt-5' }),
    chat('s', { stream: true }),
  ]) {
    const answer = await site.send({ body })
    t.equal(answer.status, 503)
    t.match(answer.headers, { 'x-governor-code': 'AUDIT_UNAVAILABLE', 'retry-after': '1' })
    t.match(answer.json.error, { type: 'server_error', code: 'audit_unavailable' })
  }
  // Refusals beyond twenty a second are folded, and a count in memory is no record either.
  const denied = { body: chat('denied', { model: 'gpt-5' }) }
  const flood = await Promise.all(Array.from({ length: 30 }, () => site.send(denied)))
  t.strictSame([...new Set(flood.map(({ status }) => status))], [503])
  const stranger = await send(site.url, denied)
  t.equal(stranger.status, 401, 'nobody is known for it, so nothing would have been recorded')
  t.equal(upstream.received.length, before, 'nothing without a record')
  t.equal((await site.admin('/livez')).status, 200)
}

t.test('a full disk refuses all calls, and heals', async (t) => {
  const directory = smallDisk(t)
  if (directory === null) {
    t.comment('Without the right to mount, the next test alone says what a full log does')
    return
  }
  const upstream = await FakeUpstream.start(t)
  const audit = `{ path: '${directory}/audit.db' }`
  const site = await startGovernor(t, { upstream: upstream.url, audit })
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  t.equal((await site.admin('/readyz')).status, 200)

  const ballast = join(directory, 'ballast')
  fill(ballast)
  const passed = await callUntilRefused(site)
  t.equal(upstream.received.length, passed + 1)
  const unready = await until('/readyz to be red', async () => {
    const answer = await site.admin('/readyz')
    return answer.status === 503 ? answer : null
  })
  t.match(unready.json, { ready: false, reasons: ['the audit log cannot be written'] })
  await refusesEverything(site, upstream)

  unlinkSync(ballast)
  await until('/readyz to be green', async () => (await site.admin('/readyz')).status === 200)
  t.equal((await site.send({ body: chat('after') })).status, 200)
  const forwarded = upstream.received.length
  await site.governor.stop()
  const verified = await site.cli('audit', 'verify')
  t.equal(verified.code, 0, verified.stdout)
  const decisions = site.entries().filter(({ body }) => body['forward'] === true)
  const outcomes = site.entries().filter(({ kind }) => kind === 'outcome')
  const notForwarded = outcomes.filter(({ body }) => body.outcome === 'not_forwarded')
  t.equal(decisions.length - notForwarded.length, forwarded, 'each call has its decision')
  t.equal(outcomes.length, decisions.length, 'and its outcome')
})

t.test('required: false goes on without a record, and tells what is missing', async (t) => {
  const directory = smallDisk(t)
  if (directory === null) {
    t.comment('Without the right to mount, the next test alone says it of a full log')
    return
  }
  const upstream = await FakeUpstream.start(t)
  const audit = `{ path: '${directory}/audit.db', required: false }`
  const site = await startGovernor(t, { upstream: upstream.url, audit })
  const whole = await site.send({ body: chat('hi') })
  t.notMatch(whole.headers, { 'x-governor-audit': /./ })
  t.equal(await site.metric('governor_audit_lost_total'), 0)

  const ballast = join(directory, 'ballast')
  fill(ballast)
  await until('an answer that says it is lost', async () => {
    const { status, headers } = await site.send({ body: chat('x') })
    t.equal(status, 200)
    return headers['x-governor-audit'] === 'lost'
  })
  const denied = await site.send({ body: chat('denied', { model: 'gpt-5' }) })
  t.match([denied.status, denied.headers['x-governor-audit']], [403, 'lost'])
  const streamed = await site.send({ body: chat('s', { stream: true }) })
  t.match([streamed.status, streamed.headers['x-governor-audit']], [200, 'lost'])
  t.equal((await site.admin('/readyz')).status, 200)
  t.ok((await site.metric('governor_audit_lost_total')) >= 1)
  t.match(site.logLines.join(''), /calls go on without a record/)

  unlinkSync(ballast)
  // A disk that is nearly full may take some in between, and each time it is told.
  const told = () =>
    site
      .entries()
      .filter(({ body }) => body['action'] === 'audit.lost')
      .map(({ body }) => body['about'] as { entries: number; calls: number; since: string })
  await until('entries that say what is missing', async () => {
    const entries = told().reduce((sum, each) => sum + each.entries, 0)
    return entries > 0 && entries === (await site.metric('governor_audit_lost_total'))
  })
  t.match(site.logLines.join(''), /takes entries again/)
  const after = await site.send({ body: chat('after') })
  t.notMatch(after.headers, { 'x-governor-audit': /./ })
  await site.entriesOf(String(after.headers['x-governor-request-id']), 2)
  await site.governor.stop()
  const verified = await site.cli('audit', 'verify', '--strict')
  t.equal(verified.code, 0, verified.stdout)
  const open = site.entries().filter(({ body }) => body['forward'] === true)
  const outcomes = site.entries().filter(({ kind }) => kind === 'outcome')
  t.equal(outcomes.length, open.length, 'no outcome without its decision')
  const unrecorded = told().reduce((sum, { calls }) => sum + calls, 0)
  const denials = site.entries().filter(({ body }) => body.code === 'POLICY_DENIED').length
  t.equal(unrecorded, upstream.received.length + 1 - open.length - denials, 'all are accounted for')
})

t.test('a log that has reached local_max refuses all calls', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const directory = mkdtempSync(join(tmpdir(), 'governor-full-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'full.db')
  const log = await openWal(path)
  for (let index = 0; log.stats.fileBytes < 40 * 1024 * 1024; index++) {
    await log.record(decision(`r${index}`, 'x'.repeat(60_000)))
  }
  await log.close()
  const site = await startGovernor(t, {
    upstream: upstream.url,
    audit: `{ path: '${path}', local_max: 16MiB }`,
  }).catch((error: unknown) => error as Error)
  if (site instanceof Error) {
    t.match(site.message, /local_max|full/, 'or does not even start, and says why')
    return
  }
  await refusesEverything(site, upstream)
  const unready = await site.admin('/readyz')
  t.equal(unready.status, 503)
  // What nobody waited for was tried as well, and by then the disk may have said no to it.
  const { reasons } = unready.json as { reasons: string[] }
  t.ok(reasons.includes('the audit log has reached audit.local_max'), reasons.join())
})

t.test('with required: false a log that has reached local_max refuses nothing', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'governor-full-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'full.db')
  const log = await openWal(path)
  const entries = Array.from({ length: 340 }, (_, index) => decision(`r${index}`, PAD))
  await Promise.all(entries.map((entry) => log.record(entry)))
  await log.close()
  const audit = `{ path: '${path}', local_max: 16MiB, required: false }`
  const site = await startGovernor(t, { audit })
  const { status, headers } = await site.send({ body: chat('hi') })
  t.match([status, headers['x-governor-audit']], [200, 'lost'])
  t.equal((await site.admin('/readyz')).status, 200)
  const check = await site.send({ path: '/v1/check', body: { operation: 'chat', model: 'gpt-4o' } })
  t.match([check.status, check.headers['x-governor-audit']], [200, 'lost'])
  // A reload to the safe value is for the next call.
  const text = configText({ audit: `{ path: '${path}', local_max: 16MiB }` })
  writeConfig(site.file, text)
  await site.governor.reload(site.load())
  t.equal((await site.send({ body: chat('hi') })).status, 503)
  t.equal((await site.admin('/readyz')).status, 503)
})
