import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Governor } from '../governor.ts'
import { commandAdmin, createKey, openKeyStore } from '../key-admin.ts'
import { loadConfig, renderProblems } from '../load-config.ts'
import { silentLog } from '../log.ts'
import { auditTail, auditVerify } from './audit.ts'

/** What `governor demo` is given by the command line. */
export interface DemoOptions {
  readonly version: string
  readonly write: (text: string) => void
  /** A file that was named, to be told that it is not read. */
  readonly notRead?: string | undefined
}

const CONFIG = `version: 1
listen: { proxy: "127.0.0.1:0", admin: "127.0.0.1:0" }
upstreams:
  - { name: echo, dialect: openai, url: "echo:", credential: none }
auth: { keys: { store: sqlite, path: data/keys.db } }
limits:
  - { id: six-a-minute, per: key, requests: 6/60s }
policies:
  - id: approved-models
    allow: { operations: [chat, embeddings, models], models: ["gpt-4o*", "text-embedding-*"] }
  - id: no-frontier
    deny: { models: ["gpt-5*"] }
    message: Frontier models need an approval
  - id: codename
    deny: { input: { matches: '(?i)project[- ]zeus' } }
    message: This project stays inside
  - id: mask-pii
    redact: { input: { detect: [email, us_ssn, credit_card] } }
audit: { path: data/audit.db }
`

interface Step {
  readonly title: string
  readonly path: string
  readonly body: object
  /** The status this step is there to show. */
  readonly want: number
}

const chat = (model: string, content: string, stream = false): Pick<Step, 'path' | 'body'> => ({
  path: '/v1/chat/completions',
  body: { model, messages: [{ role: 'user', content }], ...(stream && { stream }) },
})

const STEPS: readonly Step[] = [
  { title: 'an allowed call', ...chat('gpt-4o', 'Say hello'), want: 200 },
  { title: 'the same, streamed', ...chat('gpt-4o', 'Say hello again', true), want: 200 },
  { title: 'a model that policy denies', ...chat('gpt-5', 'Say hello'), want: 403 },
  { title: 'a text that policy denies', ...chat('gpt-4o', 'All about Project Zeus'), want: 403 },
  {
    title: 'personal data, masked before it leaves',
    ...chat('gpt-4o', 'Mail jane.doe@example.com'),
    want: 200,
  },
  {
    title: 'asking first, at /v1/check',
    path: '/v1/check',
    body: { operation: 'chat', model: 'gpt-5', input: 'hello' },
    want: 200,
  },
  { title: 'a call within the limit', ...chat('gpt-4o', 'The fifth'), want: 200 },
  { title: 'and another', ...chat('gpt-4o', 'The sixth'), want: 200 },
  { title: 'one more than the limit', ...chat('gpt-4o', 'The seventh'), want: 429 },
]

/**
 * `governor demo`: a Governor of its own on free ports and in a temporary directory, real calls
 * through it, what they left in the audit, and its verification. Exit code 0 when everything happened
 * as announced, 1 when not, 2 when it could not start.
 */
export async function demo({ version, write, notRead }: DemoOptions): Promise<number> {
  if (notRead !== undefined)
    write(`${notRead} is not read: the demo brings its own configuration.\n`)
  const directory = mkdtempSync(join(tmpdir(), 'governor-demo-'))
  try {
    const file = join(directory, 'governance.yaml')
    writeFileSync(file, CONFIG)
    const loaded = loadConfig(file, { forRun: true })
    if (!loaded.ok) {
      write(renderProblems(loaded.problems, '', loaded.excerptOf))
      return 2
    }
    const { snapshot } = loaded
    const governor = await Governor.start({ snapshot, log: silentLog, version })
    let failures: number
    try {
      failures = await callAll(governor, version, write)
    } finally {
      await governor.stop()
    }
    write('\nWhat is in the audit:\n')
    const { path } = snapshot.audit
    await auditTail({ path, lines: 100, follow: false, json: false, write })
    write('\nIs it whole?\n')
    const verified = auditVerify({ path, strict: true, json: false, write })
    if (failures > 0) write(`\n${failures} calls did not end as announced.\n`)
    return failures > 0 || verified !== 0 ? 1 : 0
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function callAll(
  governor: Governor,
  version: string,
  write: (text: string) => void,
): Promise<number> {
  const { snapshot } = governor
  const store = await openKeyStore(snapshot)
  const spec = {
    tenant: 'demo',
    name: 'demo',
    user: '',
    roles: [],
    labels: {},
    expiresAtMs: null,
  }
  const admin = commandAdmin(store, { snapshot, version })
  const { key } = await createKey(admin, spec)
  await store.close()
  let failures = 0
  for (const step of STEPS) {
    const answer = await fetch(`http://127.0.0.1:${governor.proxy.port}${step.path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(step.body),
    })
    const text = await answer.text()
    const ok = answer.status === step.want
    if (!ok) failures += 1
    write(`${ok ? '✓' : '✗'} ${step.title}: ${answer.status}\n`)
    write(`    ${said(text, answer.headers.get('content-type') ?? '')}\n`)
  }
  return failures
}

/** The heart of an answer in one line. */
function said(text: string, type: string): string {
  if (type.startsWith('text/event-stream')) {
    const events = text.split('\n\n').filter((event) => event !== '')
    return `${events.length} events, the last one is: ${events.at(-1)}`
  }
  const body = JSON.parse(text) as {
    choices?: { message: { content: string } }[]
    error?: { message: string }
    reason?: string
  }
  return body.choices?.[0]?.message.content ?? body.error?.message ?? body.reason ?? text
}
