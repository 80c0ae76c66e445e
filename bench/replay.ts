import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'

import { own, Writer } from '../src/audit/writer.ts'
import { replay } from '../src/cli/replay.ts'
import { monotonicMs, wallMs } from '../src/clock.ts'
import { loadConfig } from '../src/load-config.ts'
import { median } from './statistics.ts'

/** What it takes to hold recorded decisions against a candidate, beside reading them. */

export interface Replayed {
  readonly decisions: number
  /** Of `governor replay`, without the start of its process. */
  readonly tookMs: number
  /** SELECT and JSON.parse of the same entries. */
  readonly readMs: number
  readonly ratio: number
}

export interface ReplayPlan {
  readonly decisions: number
  readonly rounds: number
  readonly directory: string
  readonly say: (text: string) => void
}

const COMMIT = 1000
const POLICIES = 50

/** Fills a log and replays it; some ten seconds, or less than one where the decisions are few. */
export async function measureReplay(plan: ReplayPlan): Promise<Replayed> {
  const { decisions, rounds, say } = plan
  const directory = join(plan.directory, 'replay')
  mkdirSync(directory, { recursive: true })
  say(`replay, a log of ${decisions} decisions`)
  const against = join(directory, 'next.yaml')
  writeFileSync(join(directory, 'governance.yaml'), configOf('gpt-4o*'))
  writeFileSync(against, configOf('gpt-4o-mini'))
  const loaded = loadConfig(join(directory, 'governance.yaml'), { forRun: false })
  if (!loaded.ok) throw new Error(loaded.problems.map(({ message }) => message).join('\n'))
  const { snapshot } = loaded
  fill(snapshot.audit.path, decisions, snapshot.digest)
  const took: number[] = []
  const read: number[] = []
  for (let round = 0; round < rounds; round++) {
    say(`replay, round ${round + 1} of ${rounds}`)
    let startedMs = performance.now()
    let said = ''
    const write = (text: string) => void (said += text)
    const code = await replay({ snapshot, against, sinceMs: 0, json: true, write })
    took.push(performance.now() - startedMs)
    if (code !== 1 || !said.includes(`"decisions":${decisions}`)) throw new Error(said)
    startedMs = performance.now()
    readAll(snapshot.audit.path)
    read.push(performance.now() - startedMs)
  }
  const ratio = median(took.map((ms, round) => ms / read[round]!))
  return { decisions, tookMs: median(took), readMs: median(read), ratio }
}

/** Policies of all kinds, most of which need a text only where a call is theirs. */
function configOf(model: string): string {
  const policies = Array.from({ length: POLICIES }, (_, at) => {
    const models = `[team-${at}-model*]`
    if (at % 5 === 0) return `  - { id: p${at}, deny: { models: ${models}, roles: [intern] } }`
    if (at % 5 === 1) return `  - { id: p${at}, deny: { tenants: [t${at}], operations: [images] } }`
    if (at % 5 === 2) {
      return `  - { id: p${at}, for: { models: ${models} }, deny: { input: { words: [zeus] } } }`
    }
    if (at % 5 === 3) return `  - { id: p${at}, mode: shadow, deny: { labels: { tier: x${at} } } }`
    return `  - { id: p${at}, require: 'size(request.tools) <= ${at}' }`
  })
  const lines = [
    'version: 1',
    "listen: { proxy: '127.0.0.1:0', admin: '127.0.0.1:0' }",
    "upstreams: [{ name: up, dialect: openai, url: 'echo:', credential: none }]",
    'auth: { keys: { store: sqlite, path: keys.db } }',
    'audit: { path: audit.db }',
    'policies:',
    `  - { id: offered, allow: { operations: [chat], models: ["${model}"] } }`,
    ...policies,
  ]
  return `${lines.join('\n')}\n`
}

function fill(path: string, decisions: number, digest: string): void {
  const writer = new Writer({
    path,
    epoch: 1,
    writerId: randomBytes(16),
    role: 'run',
    version: 'bench',
    busyMs: 1000,
    pageBytesMax: 0,
    recover: false,
    continues: null,
    openCalls: [],
    signer: null,
  })
  for (let made = 0; made < decisions;) {
    writer.begin()
    const end = Math.min(decisions, made + COMMIT)
    for (; made < end; made++) {
      const id = `01a2b3c4-0000-7000-8000-${String(made).padStart(12, '0')}`
      const entry = own('decision', id, wallMs() * 1000, '')
      writer.append({ ...entry, body: Buffer.from(bodyOf(made, id, digest)) })
    }
    writer.commit()
    writer.prepareCheckpoint(monotonicMs())
    if (made % (50 * COMMIT) === 0) writer.checkpoint()
  }
  writer.close()
}

const MODELS = ['gpt-4o', 'gpt-4o-mini', 'gpt-4o-2024-11-20', 'team-7-model-a', 'o3'] as const

/** A decision as a sidecar with ten policies records it. */
function bodyOf(seq: number, id: string, digest: string): string {
  const model = MODELS[seq % MODELS.length]!
  const isAllowed = model.startsWith('gpt-4o')
  return JSON.stringify({
    kind: 'decision',
    time: new Date(wallMs()).toISOString(),
    request_id: id,
    tenant: `t${seq % 97}`,
    key_id: `k${seq % 997}`,
    key_name: `service-${seq % 997}`,
    user: `user-${seq % 4999}`,
    roles: ['developer', 'oncall'],
    labels: { tier: seq % 3 === 0 ? 'gold' : 'basic', team: `team-${seq % 13}` },
    via: 'key',
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': 'openai',
    'gen_ai.request.model': model,
    'gen_ai.request.stream': seq % 2 === 0,
    operation: 'chat',
    api: 'chat.completions',
    upstream: 'up',
    decision: isAllowed ? 'allow' : 'deny',
    ...(!isAllowed && { status: 403, code: 'POLICY_DENIED' }),
    ...(isAllowed && { policy: 'offered' }),
    policies: isAllowed
      ? [{ id: 'offered', mode: 'enforce', result: 'allowed', why: 'operations, models' }]
      : [],
    stages: { match: 11, authenticate: 20, admit: 3, read: 90, inspect: 55, route: 4, decide: 31 },
    facts: { texts: 7, input_chars: 40 + (seq % 2000), tools: ['search', 'get_weather'] },
    limits: [{ id: 'key-rpm', what: 'requests', bucket: 'k', left: 99, store: 'memory' }],
    received: { bytes: 1100, sha256: 'ab'.repeat(32) },
    forwarded: { sha256: 'ab'.repeat(32) },
    policy_digest: digest,
  })
}

function readAll(path: string): void {
  const file = new Database(path, { readonly: true })
  const rows = file.prepare<[], { body: Buffer }>('SELECT * FROM entries ORDER BY id').iterate()
  for (const { body } of rows) JSON.parse(body.toString())
  file.close()
}
