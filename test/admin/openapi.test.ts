import t from 'tap'

import { ERROR_SHAPE, openApi } from '../../src/admin/openapi.ts'
import { ADMIN_ROUTES } from '../../src/admin/routes.ts'
import { type AnySchema, violation } from '../../src/admin/schema.ts'

/** Words of JSON Schema that `violation` does not look at because they say nothing about validity. */
const SAID = ['description', 'format']

/** Those it does look at. */
const JUDGED =
  'type enum pattern minLength maxLength minimum maximum items maxItems properties required additionalProperties maxProperties propertyNames'

function wordsOf(schema: AnySchema): string[] {
  if ('anyOf' in schema) return schema.anyOf.flatMap(wordsOf)
  const { items, properties = {}, additionalProperties } = schema
  const inner = [items, additionalProperties, ...Object.values(properties)]
  const nested = inner.filter((each) => typeof each === 'object')
  return [...Object.keys(schema), ...nested.flatMap(wordsOf)]
}

for (const { id, method, path, answer, example, body, sent, query, params } of ADMIN_ROUTES) {
  t.test(`OpenAPI: the examples of ${id} are as its schemas say`, async (t) => {
    t.equal(violation(answer, example), null)
    if (body !== null) t.equal(violation(body, sent), null)
    else t.equal(sent, null)
    const known = new Set([...JUDGED.split(' '), ...SAID])
    const schemas = [answer, ERROR_SHAPE, ...(body === null ? [] : [body])]
    const words = [...schemas, ...Object.values(query), ...Object.values(params)].flatMap(wordsOf)
    t.strictSame(
      [...new Set(words)].filter((word) => !known.has(word)),
      [],
    )
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    t.strictSame(Object.keys(params), inPath)
    t.match(openApi(), {
      paths: { [`/admin/v1${path}`]: { [method.toLowerCase()]: { operationId: id } } },
    })
  })
}

t.test('OpenAPI: every route has an id and a place of its own', async (t) => {
  const ids = ADMIN_ROUTES.map(({ id }) => id)
  const places = ADMIN_ROUTES.map(({ method, path }) => `${method} ${path}`)
  t.equal(new Set(ids).size, ids.length)
  t.equal(new Set(places).size, places.length)
})
