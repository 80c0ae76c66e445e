import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'

import t from 'tap'

import { chat, type Sent } from '../support/client.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: what is inspected is what is forwarded; a body two parsers could read differently is a 400.
 * Method: one body a row; after a refusal the upstream must have heard nothing, and the audit must
 * have a deny.
 */

const SAFE = '"messages":[{"role":"user","content":"hi"}]'
const GOOD = `{"model":"gpt-4o",${SAFE}}`

const REFUSED: readonly [name: string, body: string | Buffer, status?: number][] = [
  ['model twice', `{"model":"gpt-4o",${SAFE},"model":"gpt-5"}`],
  ['model twice, the denied first', `{"model":"gpt-5",${SAFE},"model":"gpt-4o"}`],
  ['model twice, in another case', `{"model":"gpt-4o",${SAFE},"Model":"gpt-5"}`],
  ['model twice, escaped', `{"model":"gpt-4o",${SAFE},"mod\\u0065l":"gpt-5"}`],
  ['a key that folds to messages', `{"model":"gpt-4o",${SAFE},"me\u017fsages":[]}`],
  [
    'a key twice deep inside',
    `{"model":"gpt-4o","messages":[{"role":"user","content":"a","content":"b"}]}`,
  ],
  ['UTF-16', Buffer.from(GOOD, 'utf16le')],
  ['UTF-8 with a mark', Buffer.from(`\ufeff${GOOD}`)],
  [
    'bytes that are not UTF-8',
    Buffer.concat([Buffer.from(GOOD.slice(0, -3)), Buffer.from([0xff, 0xfe]), Buffer.from('"}]}')]),
  ],
  [
    'an overlong encoding',
    Buffer.concat([
      Buffer.from('{"model":"gpt-4o","x":"'),
      Buffer.from([0xc0, 0xaf]),
      Buffer.from('"}'),
    ]),
  ],
  ['an anti-hijack prefix', `)]}'\n${GOOD}`],
  ['a vertical tab before', `\x0b${GOOD}`],
  ['a no-break space before', `\u00a0${GOOD}`],
  ['two values', `${GOOD}${GOOD}`],
  ['a byte after', `${GOOD}\0`],
  ['a comment', `{/**/"model":"gpt-4o",${SAFE}}`],
  ['a trailing comma', `{"model":"gpt-4o",${SAFE},}`],
  ['single quotes', `{'model':'gpt-4o',${SAFE}}`],
  ['NaN', `{"model":"gpt-4o",${SAFE},"seed":NaN}`],
  ['a leading zero', `{"model":"gpt-4o",${SAFE},"seed":01}`],
  ['a line feed in a string', `{"model":"gpt-4o","messages":[{"role":"user","content":"a\nb"}]}`],
  ['half of it', GOOD.slice(0, 30)],
  ['nothing', ''],
  ['null', 'null'],
  ['a list', `[${GOOD}]`],
  ['a text', '"gpt-4o"'],
  ['a number', '123'],
  ['too deep', `{"model":"gpt-4o","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
  ['no model', `{${SAFE}}`],
  ['a list as model', `{"model":["gpt-5"],${SAFE}}`],
  ['an object as model', `{"model":{"id":"gpt-5"},${SAFE}}`],
  ['null as model', `{"model":null,${SAFE}}`],
  ['an empty model', `{"model":"",${SAFE}}`],
  ['a model with a space', `{"model":" gpt-4o",${SAFE}}`],
  ['a model with an invisible end', `{"model":"gpt-4o\u200b",${SAFE}}`],
  ['a model in full width', `{"model":"\uff47\uff50\uff54-4o",${SAFE}}`],
  ['stream as text', `{"model":"gpt-4o",${SAFE},"stream":"false"}`],
  ['stream as number', `{"model":"gpt-4o",${SAFE},"stream":1}`],
  ['a role nobody knows', '{"model":"gpt-4o","messages":[{"role":"x","content":"hi"}]}'],
]

function user(content: unknown): object {
  return { model: 'gpt-4o', messages: [{ role: 'user', content }] }
}

function encoded(encoding: string, body: Buffer | string): Sent {
  return { body, headers: { 'content-encoding': encoding } }
}

t.test('a body that can be read in two ways is refused', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  for (const [name, body, status = 400] of REFUSED) {
    const answer = await site.send({ body })
    t.equal(answer.status, status, `${name}: ${answer.text.slice(0, 160)}`)
    t.match(answer.json.error, { type: 'invalid_request_error' }, name)
  }
  t.equal(upstream.received.length, 0)
  // The first twenty in a second have entries of their own, the others are counted in one.
  await until('all of them in the audit', () => {
    const denied = site.entries().filter(({ body }) => body.decision === 'deny')
    const told = denied.reduce((sum, { body }) => sum + Number(body['repeated'] ?? 1), 0)
    return told === REFUSED.length
  })
  t.equal((await site.send({ body: GOOD })).status, 200)
})

t.test('what a policy looks for is found wherever it is put', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  for (const [name, body] of [
    ['a message', user('about Project Zeus')],
    ['full width', user('Ｐｒｏｊｅｃｔ Ｚｅｕｓ')],
    ['an invisible character', user('proj\u200bect ze\u00adus')],
    ['a part', user([{ type: 'text', text: 'project-zeus' }])],
    [
      'two parts',
      user([
        { type: 'text', text: 'project ' },
        { type: 'text', text: 'zeus' },
      ]),
    ],
    ['a field nobody knows', { ...chat('hi'), extra: { deep: ['project zeus'] } }],
    [
      'a sibling',
      { model: 'gpt-4o', messages: [{ role: 'user', content: 'a', note: 'project zeus' }] },
    ],
    ['a key', { ...chat('hi'), metadata: { 'project zeus': '1' } }],
    ['metadata', { ...chat('hi'), metadata: { a: 'project zeus' } }],
    [
      'a tool',
      {
        ...chat('hi'),
        tools: [
          {
            type: 'function',
            function: { name: 'f', description: 'project zeus', parameters: {} },
          },
        ],
      },
    ],
    [
      'arguments of a tool call, escaped twice',
      {
        model: 'gpt-4o',
        messages: [
          {
            role: 'assistant',
            tool_calls: [
              {
                id: 'a',
                type: 'function',
                function: { name: 'f', arguments: '{"q":"project \\u007aeus"}' },
              },
            ],
          },
          { role: 'tool', tool_call_id: 'a', content: 'x' },
        ],
      },
    ],
    [
      'a system message',
      { model: 'gpt-4o', messages: [{ role: 'system', content: 'project zeus' }] },
    ],
    [
      'predicted output',
      { ...chat('hi'), prediction: { type: 'content', content: 'project zeus' } },
    ],
  ] as const) {
    const answer = await site.send({ body })
    t.equal(answer.status, 403, `${name}: ${answer.text.slice(0, 160)}`)
    t.equal(answer.headers['x-governor-policy'], 'codename', name)
    t.notMatch(answer.text.toLowerCase(), 'zeus', 'and it is not said back')
  }
  t.equal(upstream.received.length, 0)
  t.notMatch(JSON.stringify(site.entries()).toLowerCase(), 'zeus', 'nor written down')
})

t.test('content types and encodings come from a closed list', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const typed = (type: string): Sent => ({ body: GOOD, headers: { 'content-type': type } })
  const gzip = gzipSync(GOOD)
  const zstd = zstdCompressSync(GOOD)
  for (const [name, sent, status] of [
    ['a form', typed('application/x-www-form-urlencoded'), 415],
    ['text', typed('text/plain'), 415],
    ['something after', typed('application/json garbage'), 415],
    ['a tab', typed('application/json\tx'), 415],
    ['two types', typed('application/json, text/plain'), 415],
    ['UTF-16', typed('application/json; charset=utf-16'), 415],
    ['another charset', typed('application/json; charset=utf-7'), 415],
    ['multipart', typed('multipart/form-data; boundary=a'), 415],
    ['a vendor type', typed('application/vnd.api+json'), 415],
    ['capitals and quotes', typed('Application/JSON ; charset="UTF-8"'), 200],
    ['brotli', encoded('br', GOOD), 415],
    ['two encodings', encoded('gzip, gzip', gzipSync(gzip)), 415],
    ['identity', encoded('identity', GOOD), 200],
    ['gzip that is not', encoded('gzip', GOOD), 400],
    ['gzip nobody declared', { body: gzip }, 400],
    ['gzip with zeros after', encoded('gzip', Buffer.concat([gzip, Buffer.alloc(8)])), 400],
    [
      'gzip with garbage after',
      encoded('gzip', Buffer.concat([gzip, Buffer.from('GARBAGE')])),
      400,
    ],
    ['half of gzip', encoded('gzip', gzip.subarray(0, -9)), 400],
    [
      'zstd with garbage after',
      encoded('zstd', Buffer.concat([zstd, Buffer.from('GARBAGE')])),
      400,
    ],
    ['gzip', encoded('gzip', gzip), 200],
    ['gzip in capitals', encoded('GZIP', gzip), 200],
    ['deflate', encoded('deflate', deflateSync(GOOD)), 200],
    ['zstd', encoded('zstd', zstd), 200],
    [
      'gzip in two members',
      encoded('gzip', Buffer.concat([gzipSync(GOOD.slice(0, 9)), gzipSync(GOOD.slice(9))])),
      200,
    ],
    [
      'zstd in two frames',
      encoded(
        'zstd',
        Buffer.concat([zstdCompressSync(GOOD.slice(0, 9)), zstdCompressSync(GOOD.slice(9))]),
      ),
      200,
    ],
  ] as const) {
    const before = upstream.received.length
    const answer = await site.send(sent)
    t.equal(answer.status, status, `${name}: ${answer.text.slice(0, 160)}`)
    t.equal(upstream.received.length - before, status === 200 ? 1 : 0, name)
    if (status !== 200) continue
    t.equal(upstream.last?.body.toString(), GOOD, 'decoded')
    t.equal(upstream.last?.headers['content-encoding'], undefined)
    t.equal(upstream.last?.headers['content-type'], 'application/json')
    t.equal(upstream.last?.headers['content-length'], String(GOOD.length))
    const changed = name.startsWith('capitals') || name === 'identity' ? undefined : 'decoded'
    t.equal(answer.headers['x-governor-changed'], changed, name)
  }
})

t.test('a policy sees inside a compressed body', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const body = JSON.stringify(chat('project zeus'))
  const second = zstdCompressSync(body.slice(20))
  for (const [encoding, bytes] of [
    ['gzip', gzipSync(body)],
    ['zstd', Buffer.concat([zstdCompressSync(body.slice(0, 20)), second])],
  ] as const) {
    const answer = await site.send({ body: bytes, headers: { 'content-encoding': encoding } })
    t.equal(answer.status, 403, encoding)
  }
  t.equal(upstream.received.length, 0)
})

t.test('size has a maximum, before and after decoding', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    maximums: '{ body: 64KiB, decoded: 128KiB, in_flight: 1MiB }',
  })
  const big = JSON.stringify(chat('a'.repeat(100 * 1024)))
  t.equal((await site.send({ body: big })).status, 413)
  const chunks = { 'transfer-encoding': 'chunked', 'content-length': [] as string[] }
  t.equal((await site.send({ body: big, headers: chunks })).status, 413, 'in chunks')
  t.equal(
    (await site.send({ body: gzipSync(big), headers: { 'content-encoding': 'gzip' } })).status,
    200,
  )
  const zeros = Buffer.alloc(64 * 1024 * 1024)
  for (const [encoding, bomb] of [
    ['gzip', gzipSync(zeros)],
    ['zstd', zstdCompressSync(zeros)],
  ] as const) {
    const headers = { 'content-encoding': encoding }
    const answer = await site.send({ body: bomb.subarray(0, 65_000), headers })
    t.equal(answer.status, 413, encoding)
  }
  t.equal(upstream.received.length, 1)
  t.equal(await site.metric('governor_inflight_bytes'), 0)
})

t.test('operations without a body take none', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const answer = await site.send({ method: 'GET', path: '/v1/models', body: GOOD })
  t.equal(answer.status, 400)
  t.equal((await site.send({ method: 'GET', path: '/v1/models' })).status, 200)
  t.equal(upstream.received.length, 1)
  t.equal(upstream.last?.headers['content-type'], undefined)
})

t.test('names like __proto__ are names', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const body =
    `{"model":"gpt-4o",${SAFE},"__proto__":{"isAdmin":true},` +
    '"constructor":{"prototype":{"isAdmin":true}},"metadata":{"__proto__":"x","toString":"y"}}'
  const answer = await site.send({ body })
  t.ok([200, 400].includes(answer.status))
  t.equal(({} as Record<string, unknown>)['isAdmin'], undefined)
  if (answer.status === 200) t.equal(upstream.last?.body.toString(), body)
})
