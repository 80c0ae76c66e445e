import t from 'tap'

import { EXPORT_FORMATS, type ExportFormat, exporterOf } from '../../src/audit/export.ts'
import type { StoredEntry } from '../../src/audit/query.ts'

const WRITER = 'ab'.repeat(16)
const US = Date.UTC(2026, 10, 21, 13, 31, 7, 123) * 1000 + 456

/** Line breaks of every kind, what ends a field, a header or a JSON string, and what terminals obey. */
const HOSTILE = [
  'x|y=z \\ | act=allow cs2=none',
  'a\nCEF:0|Evil|Evil|1|1|1|10|act=allow',
  '\r\n{"activity_id":1}',
  '"},"event":{"outcome":"success"}',
  '\u2028\u2029\u0085\u001b[2J\u202Eevil\u0000',
  '\\',
  '\\n\\=\\|',
  ' spaces ',
  'act=allow',
  '\ud800',
  '= =',
]

function entry(kind: string, said: object, seq = 7): StoredEntry {
  const requestId = kind === 'decision' || kind === 'outcome' ? 'r-1' : ''
  const whole = { kind, ...(requestId !== '' && { request_id: requestId }), ...said }
  const body = JSON.stringify(whole)
  return { id: 1, writer: WRITER, epoch: 2, seq, occurredAtUs: US, kind, requestId, body }
}

const ALLOWED = entry('decision', {
  tenant: 'acme',
  key_id: 'k1',
  key_name: 'ci',
  user: 'u-7',
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'openai',
  operation: 'chat',
  upstream: 'openai',
  'gen_ai.request.model': 'gpt-4o',
  decision: 'allow',
  forward: true,
})
const DENIED = entry('decision', {
  tenant: 'acme',
  operation: 'chat',
  decision: 'deny',
  status: 403,
  code: 'POLICY_DENIED',
  policy: 'codename',
})
const ENDED = entry('outcome', {
  outcome: 'complete',
  status: 200,
  'gen_ai.response.model': 'gpt-4o-2024-08-06',
  'gen_ai.response.id': 'chatcmpl-1',
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 30,
  duration_us: 1_234_567,
})
const OWN = [
  entry('unauthenticated', { codes: { KEY_UNKNOWN: 3, KEY_MISSING: 2 } }),
  entry('admin', { action: 'keys.create', about: { name: 'ci' } }),
  entry('writer.open', { role: 'run' }),
  entry('writer.close', {}),
  entry('heartbeat', {}),
  entry('policy.load', {}),
  entry('checkpoint', { size: 6 }),
  entry('decision', { decision: 'deny', codes: { LIMIT: 41 }, repeated: 41 }),
]
const BROKEN: StoredEntry[] = [
  { ...ALLOWED, body: 'no JSON' },
  { ...ALLOWED, body: '[1]' },
  { ...ALLOWED, body: '{"tenant":{"a":1},"status":"403","duration_us":-1,"decision":7}' },
  { ...ALLOWED, occurredAtUs: 2 ** 53 - 1 },
]

function hostile(text: string): StoredEntry[] {
  const said = { tenant: text, key_id: text, key_name: text, user: text, upstream: text }
  const more = { 'gen_ai.request.model': text, policy: text, code: text, operation: text }
  return [
    entry('decision', { ...said, ...more, decision: 'deny' }),
    { ...entry('outcome', { outcome: text }), requestId: text },
    entry('admin', { action: text }),
  ]
}

const ALL = [ALLOWED, DENIED, ENDED, ...OWN, ...BROKEN, ...HOSTILE.flatMap(hostile)]

function lineOf(format: ExportFormat, each: StoredEntry): string {
  return exporterOf(format, '1.2.3').line(each)
}

/** JSON of one line, read by nothing of ours. */
function json(
  t: { equal(a: unknown, b: unknown, why: string): unknown },
  line: string,
): Record<string, Record<string, unknown>> {
  t.equal(line.indexOf('\n'), line.length - 1, 'one line')
  return JSON.parse(line) as Record<string, Record<string, unknown>>
}

/** What ends a line for one collector or another, or is obeyed by a terminal. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

t.test('each format is one line an entry, whatever clients and keys were called', async (t) => {
  for (const format of EXPORT_FORMATS) {
    for (const each of ALL) {
      const line = lineOf(format, each)
      const text = line.replace(/\r?\n$/, '')
      if (UNSAFE.test(text)) t.fail(`${format} of ${JSON.stringify(each)}`)
      if (!text.isWellFormed()) t.fail(`${format} of ${JSON.stringify(each)} is not UTF-8`)
    }
  }
  t.pass()
})

interface Cef {
  readonly head: string[]
  readonly extension: Record<string, string>
}

/** CEF as its specification reads it, character by character. */
function parseCef(line: string): Cef {
  const head: string[] = []
  let field = ''
  let at = 0
  for (; at < line.length && head.length < 7; at++) {
    if (line[at] === '\\') field += line[++at] ?? ''
    else if (line[at] === '|') {
      head.push(field)
      field = ''
    } else field += line[at]
  }
  const extension: Record<string, string> = {}
  // A key is what stands before an `=` that has no backslash, back to the space before it.
  let key = ''
  let value = ''
  const end = () => {
    if (key !== '') extension[key] = value
  }
  for (; at < line.length; at++) {
    const one = line[at]!
    if (one === '\\') {
      const next = line[++at] ?? ''
      value += next === 'n' ? '\n' : next === 'r' ? '\r' : next
    } else if (one === '=') {
      const space = value.lastIndexOf(' ')
      const name = value.slice(space + 1)
      value = value.slice(0, Math.max(0, space))
      end()
      key = name
      value = ''
    } else value += one
  }
  end()
  return { head, extension }
}

t.test('CEF has the header and the fields of its dictionary', async (t) => {
  const allowed = parseCef(lineOf('cef', ALLOWED).trimEnd())
  t.strictSame(allowed.head, [
    'CEF:0',
    'Governor',
    'Governor',
    '1.2.3',
    'decision:allow',
    'LLM call allowed: chat',
    '1',
  ])
  t.strictSame(allowed.extension, {
    rt: String(Math.floor(US / 1000)),
    externalId: 'r-1',
    cat: 'decision',
    act: 'allow',
    app: 'chat',
    outcome: 'success',
    cnt: '1',
    suid: 'k1',
    suser: 'u-7',
    deviceExternalId: WRITER,
    cs1Label: 'model',
    cs1: 'gpt-4o',
    cs3Label: 'entry',
    cs3: `${WRITER}/2/7`,
    cs4Label: 'tenant',
    cs4: 'acme',
    cs5Label: 'keyName',
    cs5: 'ci',
    cs6Label: 'upstream',
    cs6: 'openai',
  })
  const denied = parseCef(lineOf('cef', DENIED).trimEnd())
  t.strictSame(denied.head.slice(4), ['decision:deny:POLICY_DENIED', 'LLM call refused: chat', '5'])
  t.match(denied.extension, { act: 'deny', outcome: 'failure', reason: 'POLICY_DENIED' })
  const ended = parseCef(lineOf('cef', ENDED).trimEnd())
  t.match(ended.extension, { cn1: '12', cn2: '30', cn3: '1234567', flexString1: '200' })
  t.equal(parseCef(lineOf('cef', OWN.at(-1)!).trimEnd()).extension['cnt'], '41')
})

t.test('hostile text in CEF stays in its field', async (t) => {
  const keys = new Set(
    Object.keys(parseCef(lineOf('cef', hostile('plain')[0]!).trimEnd()).extension),
  )
  for (const text of HOSTILE) {
    for (const each of hostile(text)) {
      const { head, extension } = parseCef(lineOf('cef', each).replace(/\n$/, ''))
      t.strictSame(head.slice(0, 4), ['CEF:0', 'Governor', 'Governor', '1.2.3'])
      t.match(head[6], /^[135]$/)
      for (const key of Object.keys(extension)) t.ok(keys.has(key) || key === 'externalId', key)
      if (each.kind === 'decision') t.match(extension, { act: 'deny', outcome: 'failure' })
    }
  }
  const [one] = hostile(HOSTILE[0]!)
  t.equal(parseCef(lineOf('cef', one!).trimEnd()).extension['cs1'], HOSTILE[0])
  const long = parseCef(lineOf('cef', hostile('='.repeat(9000))[0]!).trimEnd())
  t.equal(long.extension['cs1']?.length, 4000, 'cut before it is escaped')
  t.equal(long.extension['app']?.length, 31)
})

const ECS_TYPES: Record<string, string[]> = {
  api: [
    'access',
    'admin',
    'allowed',
    'change',
    'creation',
    'deletion',
    'denied',
    'end',
    'info',
    'start',
  ],
  authentication: ['start', 'end', 'info'],
  configuration: ['access', 'change', 'creation', 'deletion', 'info'],
  process: ['access', 'change', 'end', 'info', 'start'],
}

t.test('ECS documents have the fields of ECS, and only values it allows', async (t) => {
  for (const each of ALL) {
    const said = json(t, lineOf('ecs', each))
    const event = said['event']!
    const at: unknown = said['@timestamp']
    t.equal(typeof at === 'string' && new Date(at).toISOString(), at)
    t.strictSame(said['ecs'], { version: '9.4.0' })
    t.ok(['event', 'alert'].includes(String(event['kind'])))
    t.ok(['success', 'failure', 'unknown'].includes(String(event['outcome'])))
    const [category = ''] = event['category'] as string[]
    const types = event['type'] as string[]
    t.strictSame(
      types.filter((type) => !ECS_TYPES[category]?.includes(type)),
      [],
    )
    t.equal(event['original'], each.body.toWellFormed())
    t.strictSame(
      Object.keys(said).filter(
        (name) =>
          !/^(@timestamp|ecs|event|service|organization|user|rule|transaction|http|gen_ai)$/.test(
            name,
          ),
      ),
      [],
    )
  }
  const { event, gen_ai, http, rule } = json(t, lineOf('ecs', DENIED))
  t.match(event, {
    kind: 'alert',
    type: ['access', 'denied'],
    outcome: 'failure',
    reason: 'POLICY_DENIED',
    action: 'llm-chat',
  })
  t.strictSame(
    [rule, http],
    [
      { id: 'codename', name: 'codename' },
      { request: { id: 'r-1' }, response: { status_code: 403 } },
    ],
  )
  t.strictSame(gen_ai, { operation: { name: 'chat' } })
  const ended = json(t, lineOf('ecs', ENDED))
  t.equal(ended['event']?.['duration'], 1_234_567_000, 'nanoseconds')
  t.strictSame(ended['gen_ai'], {
    response: { model: 'gpt-4o-2024-08-06', id: 'chatcmpl-1' },
    usage: { input_tokens: 12, output_tokens: 30 },
  })
})

t.test('OCSF events are of class API Activity, with all it requires', async (t) => {
  for (const each of ALL) {
    const said = json(t, lineOf('ocsf', each)) as Record<string, unknown>
    t.match(said, { class_uid: 6003, category_uid: 6, activity_id: 99, type_uid: 600399 })
    t.ok(Number.isSafeInteger(said['time']), 'milliseconds')
    t.ok([1, 2, 3].includes(Number(said['severity_id'])))
    t.ok([0, 1, 2].includes(Number(said['status_id'])))
    t.match(said['metadata'], {
      version: '1.8.0',
      product: { vendor_name: 'Governor' },
      uid: /\/2\/7$/,
    })
    const { actor, api, src_endpoint: source } = said as Record<string, Record<string, unknown>>
    t.ok(Object.keys(actor ?? {}).length > 0, 'somebody did it')
    t.equal(typeof api?.['operation'], 'string')
    t.equal(source?.['uid'], WRITER)
    if ('ai_model' in said) t.match(said['ai_model'], { ai_provider: String, name: String })
    const profiles = (said['metadata'] as { profiles?: string[] }).profiles ?? []
    t.equal(profiles.includes('security_control'), 'action_id' in said)
    t.equal(profiles.includes('ai_operation'), 'message_context' in said)
    t.equal(said['raw_data'], each.body.toWellFormed())
  }
  t.match(json(t, lineOf('ocsf', DENIED)), {
    action_id: 2,
    disposition_id: 2,
    policy: { uid: 'codename' },
    status_id: 2,
    status_code: '403',
    status_detail: 'POLICY_DENIED',
    api: { operation: 'chat', response: { code: 403, error: 'POLICY_DENIED' } },
    metadata: { correlation_uid: 'r-1', tenant_uid: 'acme' },
  })
  t.match(json(t, lineOf('ocsf', ENDED)), {
    duration: 1235,
    message_context: { prompt_tokens: 12, completion_tokens: 30, total_tokens: 42 },
  })
  t.equal(json(t, lineOf('ocsf', OWN[0]!))['count'], 5)
})
