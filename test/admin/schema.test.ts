import t from 'tap'

import { type AnySchema, type Schema, violation } from '../../src/admin/schema.ts'

const NAME: Schema = { type: 'string', pattern: '^[a-z]+$', maxLength: 4, description: 'a name' }
const THING: Schema = {
  type: 'object',
  properties: {
    name: NAME,
    count: { type: 'integer', minimum: 1, maximum: 3 },
    tags: { type: 'array', items: NAME, maxItems: 2 },
  },
  required: ['name'],
  additionalProperties: false,
}

const CASES: [string, AnySchema, unknown, string | null][] = [
  ['what fits', THING, { name: 'a', count: 3, tags: ['b', 'c'] }, null],
  ['a missing member', THING, { count: 1 }, '/name: it to be there'],
  ['one too many', THING, { name: 'a', more: 1 }, '/more: only name, count, tags'],
  [
    'a name out of the prototype',
    THING,
    JSON.parse('{"name":"a","__proto__":1}'),
    '/__proto__: only name, count, tags',
  ],
  ['another type', THING, { name: 7 }, '/name: a text'],
  ['a pattern', THING, { name: 'A' }, '/name: a name'],
  ['a length', THING, { name: 'abcde' }, '/name: 0 to 4 characters'],
  ['a fraction', THING, { name: 'a', count: 1.5 }, '/count: an integer'],
  ['a number out of range', THING, { name: 'a', count: 4 }, '/count: 1 to 3'],
  ['an item', THING, { name: 'a', tags: ['a', null] }, '/tags/1: a text'],
  ['a list too long', THING, { name: 'a', tags: ['a', 'b', 'c'] }, '/tags: at most 2 items'],
  ['null is no object', THING, null, ': an object'],
  ['a list is no object', THING, [], ': an object'],
  ['a name that needs escapes', THING, { name: 'a', 'x/~': 1 }, '/x~1~0: only name, count, tags'],
  ['one of two', { anyOf: [NAME, { type: 'null' }] }, null, null],
  ['none of two', { anyOf: [NAME, { type: 'null' }] }, 7, ': a text'],
  ['an enum', { type: 'string', enum: ['a', 'b'] }, 'c', ': one of a, b'],
  [
    'members by their names',
    { type: 'object', additionalProperties: NAME, propertyNames: { pattern: '^k' } },
    { x: 'a' },
    '/x: names that match ^k',
  ],
  [
    'members by their values',
    { type: 'object', additionalProperties: NAME },
    { x: 1 },
    '/x: a text',
  ],
  ['too many members', { type: 'object', maxProperties: 1 }, { x: 1, y: 2 }, ': at most 1 members'],
  ['a boolean', { type: 'boolean' }, 'true', ': a boolean'],
]

for (const [what, schema, value, expected] of CASES) {
  t.test(`violation() tells of ${what}`, async (t) => {
    const found = violation(schema, value)
    t.equal(found && `${found.pointer}: ${found.expected}`, expected)
  })
}
