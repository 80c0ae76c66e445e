import t from 'tap'

import { Hold } from '../../../src/policy/detect/hold.ts'
import { REGISTRY } from '../../../src/policy/detect/registry.ts'

function hold(ids: readonly string[], units = 0): Hold {
  return new Hold(
    ids.flatMap((id) => REGISTRY.get(id) ?? []),
    units,
  )
}

function held(text: string, ids: readonly string[], units = 0): number {
  return text.length - hold(ids, units).from(text)
}

t.test('from() holds back as far as something may have begun, and no further', async (t) => {
  const words = 'an ordinary sentence '.repeat(1000)
  t.equal(held(words, []), 0)
  t.equal(held(words, [], 10), 12)
  t.ok(held(words, ['private_key', 'jwt']) < 32)
  t.ok(held(words, ['email']) < 100)
  t.ok(held(words, ['api_key']) < 200)
  t.equal(held('short', ['email']), 5)
})

t.test('from() holds a value from where it began until it is over', async (t) => {
  const begun = 'here: -----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg'
  t.equal(hold(['private_key']).from(`some words. ${begun}`), 18)
  const over = `-----BEGIN of a list, and not of a key ${'with words '.repeat(30)}`
  t.ok(hold(['private_key']).from(over) > 300)
  t.equal(hold(['jwt']).from(`token eyJ${'a'.repeat(500)}`), 6)
  t.ok(hold(['jwt']).from(`token eyJ${'a'.repeat(500)} and more words to go on`) > 500)
})

t.test('from() counts what a reader sees', async (t) => {
  const invisible = '\u200b'.repeat(500)
  t.equal(hold([], 10).from(`a project${invisible}`), 0)
  t.equal(hold([], 4).from(`ab${invisible}cdefgh`), 502)
})
