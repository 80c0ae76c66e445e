import t from 'tap'

import {
  checkHeaders,
  forwardable,
  HeaderList,
  HEADERS_MAX,
  limitAddress,
  relayable,
} from '../../src/http/headers.ts'

const list = new HeaderList(['accept', 'x-stainless-*'])

t.test('HeaderList knows exact names and prefixes', async (t) => {
  t.equal(list.has('accept'), true)
  t.equal(list.has('accept-encoding'), false)
  t.equal(list.has('x-stainless-lang'), true)
})

t.test('forwardable() keeps the allow-list and drops what Connection names', async (t) => {
  const headers = {
    accept: '*/*',
    'x-stainless-lang': 'js',
    'x-forwarded-for': '1.2.3.4',
    cookie: 'a=b',
    authorization: 'Bearer secret',
    connection: 'keep-alive, X-Stainless-Lang',
  }
  t.strictSame(forwardable(headers, list), ['accept', '*/*'])
})

t.test('forwardable() ignores names that are prototypes', async (t) => {
  const headers = Object.assign(Object.create(null), { ['__proto__']: 'x', constructor: 'y' })
  t.strictSame(forwardable(headers, list), [])
})

t.test('forwardable() leaves out what repeats the secret of the caller', async (t) => {
  const secret = 'c0ffee'.repeat(6)
  const key = `3f2504e0-4f89-41d3-9a0c-0305e82c3301.${secret}`
  const spread = { accept: `a ${key}`, 'x-stainless-a': secret, 'x-stainless-b': 'js' }
  for (const credential of [
    { authorization: `Bearer ${key}` },
    { 'api-key': key },
    { authorization: 'Bearer sk-of-another-provider', 'x-api-key': key },
  ]) {
    t.strictSame(forwardable({ ...spread, ...credential }, list), ['x-stainless-b', 'js'])
  }
  t.equal(forwardable(spread, list).length, 6, 'without one there is nothing to look for')
  const placeholder = { authorization: 'Bearer js', 'x-stainless-b': 'js' }
  t.strictSame(forwardable(placeholder, list), ['x-stainless-b', 'js'])
})

t.test('relayable() repeats a header that came twice', async (t) => {
  const answer = { accept: ['a', 'b'], 'set-cookie': ['x'], 'x-stainless-a': undefined }
  t.strictSame(relayable(answer, list), ['accept', 'a', 'accept', 'b'])
})

for (const name of ['Authorization', 'Host', 'Content-Length', 'X-Api-Key', 'Content-Type']) {
  t.test(`checkHeaders() refuses ${name} sent twice`, async (t) => {
    const raw = [name, 'a', 'Accept', 'b', name.toLowerCase(), 'c']
    t.throws(() => checkHeaders(raw, {}), { code: 'HEADER_INVALID', param: name.toLowerCase() })
  })
}

t.test('checkHeaders() takes repeated headers of other names', async (t) => {
  t.doesNotThrow(() => checkHeaders(['Accept', 'a', 'Accept', 'b'], {}))
})

for (const coding of ['identity, chunked', 'chunked, identity', 'gzip', 'xchunked', '']) {
  t.test(`checkHeaders() refuses transfer-encoding "${coding}"`, async (t) => {
    t.throws(() => checkHeaders([], { 'transfer-encoding': coding }), { code: 'HEADER_INVALID' })
  })
}

t.test('checkHeaders() takes chunked in any case', async (t) => {
  t.doesNotThrow(() => checkHeaders([], { 'transfer-encoding': 'Chunked' }))
})

t.test('checkHeaders() refuses more headers than the maximum', async (t) => {
  const raw = Array.from({ length: 2 * HEADERS_MAX + 2 }, (_, index) => `h${index}`)
  t.throws(() => checkHeaders(raw, {}), { code: 'HEADERS_TOO_LARGE', status: 431 })
})

for (const [address, want] of [
  ['127.0.0.1', '127.0.0.1'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['::1', '0:0:0:0::/64'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002::6', '2001:db8:1:2::/64'],
  ['2001:db8::5:6', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
] as const) {
  t.test(`limitAddress() counts ${address} as ${want}`, async (t) => {
    t.equal(limitAddress(address), want)
  })
}

t.test('limitAddress() survives a socket that is already gone', async (t) => {
  t.equal(limitAddress(undefined), '')
})
