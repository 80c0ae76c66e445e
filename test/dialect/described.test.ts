import t from 'tap'

import { TESTS } from '../../src/config/schema-tests.ts'
import {
  DESCRIBED_FIELDS,
  readDescribed,
  readDescribedCaller,
} from '../../src/dialect/described.ts'

function read(value: object) {
  return readDescribedCaller(Buffer.from(JSON.stringify(value)), { jsonDepth: 8 })
}

t.test('a described request has the same fields in tests: and on the wire', async (t) => {
  const list = TESTS.shape
  const test = list.kind === 'list' ? list.item.shape : list
  const request = test.kind === 'map' ? test.fields['request']?.spec.shape : test
  const fields = request?.kind === 'map' ? Object.keys(request.fields) : []
  // What services would say of a text is supposed in tests only.
  const wire = fields.filter((field) => field !== 'detected')
  t.strictSame(new Set([...wire, 'input_text']), DESCRIBED_FIELDS)
})

t.test('readDescribedCaller() reads who calls and when', async (t) => {
  const body = {
    tenant: 'acme',
    user: 'ada',
    key: 'ci',
    roles: ['intern'],
    labels: { tier: 'gold' },
    unusual: ['new_network', 'high_rate'],
    time: '1970-01-01T00:00:01Z',
  }
  const { time: _time, ...caller } = body
  t.strictSame(await read(body), { ...caller, timeMs: 1000 })
  t.strictSame(await read({}), {
    tenant: '',
    user: '',
    key: '',
    roles: [],
    labels: {},
    unusual: [],
    timeMs: null,
  })
  await t.rejects(read({ labels: { a: 1 } }), { code: 'FIELD_INVALID' })
  await t.rejects(read({ labels: 'gold' }), { code: 'FIELD_INVALID' })
  await t.rejects(read({ roles: [1] }), { code: 'FIELD_INVALID' })
  await t.rejects(read({ unusual: 'new' }), { code: 'FIELD_INVALID' })
  await t.rejects(read({ time: 'now' }), { code: 'FIELD_INVALID' })
})

const described = (body: object) =>
  readDescribed(Buffer.from(JSON.stringify(body)), { jsonDepth: 64, operations: [] })

t.test('readDescribed() checks models as a call does', async (t) => {
  for (const model of ['gpt 4', 'a//b', 'gpt-4o/../gpt-5', 'x'.repeat(257), '', 7]) {
    await t.rejects(described({ model, input: 'x' }), { code: 'MODEL_INVALID' }, String(model))
  }
  await t.rejects(described({ input: 'x' }), { code: 'MODEL_INVALID' })
  await t.rejects(described({ operation: 'embeddings' }), { code: 'MODEL_INVALID' })
  t.strictSame((await described({ operation: 'models' })).facts.models, [])
  t.strictSame((await described({ operation: 'files.read', model: '' })).facts.models, [])
})

t.test('readDescribed() gives the readings of a call', async (t) => {
  const { facts } = await described({
    model: 'gpt-4o',
    input: ['black', 'b\\u0069rd'],
    tools: ['get_weather'],
  })
  t.strictSame(facts.texts.values, [
    'black',
    'b\\u0069rd',
    'get_weather',
    'gpt-4o',
    'blackb\\u0069rd',
    'bird',
    'blackbird',
  ])
  t.equal(facts.inputChars, 'black'.length + 'b\\u0069rd'.length + 'get_weather'.length)
})
