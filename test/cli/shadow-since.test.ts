import t from 'tap'

import { check } from '../../src/cli/check.ts'
import { configText, type Sections, startGovernor, writeConfig } from '../support/start-governor.ts'

const DAY_MS = 86_400_000
const OPEN = '{ id: open, allow: { operations: [chat] } }'
const TRIED = '{ id: tried, mode: shadow, deny: { models: ["gpt-5*"] } }'

function sections(policy: string): Sections {
  return { policies: `[${OPEN}, ${policy}]` }
}

t.test('check says since when a policy is in shadow, where the audit knows', async (t) => {
  const site = await startGovernor(t, sections(TRIED))
  const said = (afterDays: number) => {
    let out = ''
    const nowMs = Date.now() + afterDays * DAY_MS
    const options = { files: [site.file], format: 'text', print: false, version: 'test', env: {} }
    t.equal(check({ ...options, nowMs, write: (text) => (out += text) }), 0)
    return out.split('\n').filter((line) => line.includes('policies[1].mode'))
  }
  const use = async (policy: string) => {
    writeConfig(site.file, configText(sections(policy)))
    await site.governor.reload(site.load())
  }
  await site.createKey('flushed')
  await site.governor.stop(0)
  t.match(said(59), [/Note: In shadow: it is recorded and decides nothing$/])
  t.match(said(61), [/Note: In shadow for 61 days, since \d{4}-\d\d-\d\d or longer: enforce/])

  await site.open()
  await use('{ id: tried, mode: shadow, deny: { models: ["gpt-5*"], roles: [intern] } }')
  await use(TRIED)
  writeConfig(site.file, configText(sections(TRIED.replace('shadow', 'enforce'))))
  t.strictSame(said(100), [], 'enforced by now')
  writeConfig(site.file, configText(sections(TRIED.replace('gpt-5', 'o3'))))
  t.match(said(100), [/Note: In shadow: it is/], 'another rule is another trial')
})
