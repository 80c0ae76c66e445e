import t from 'tap'

import { DETECTORS } from '../../../src/exchange.ts'
import { REGISTRY } from '../../../src/policy/detect/registry.ts'
import { pick, randomFrom } from '../random.ts'
import { findIn, setOf } from './find.ts'
import { make } from './generate.ts'

void t.test('REGISTRY holds the detectors the file may name, each under its own id', async (t) => {
  t.strictSame([...REGISTRY.keys()], [...DETECTORS])
  for (const [id, detector] of REGISTRY) t.equal(detector.id, id)
})

void t.test('find() gives the place of a value in the text as it was sent', async (t) => {
  const set = setOf(['credit_card', 'email', 'us_ssn'])
  for (const [text, value] of [
    ['pay 4111 1111 1111 1111 now', '4111 1111 1111 1111'],
    ['pay 4111\u200b1111\u00ad11111111 now', '4111\u200b1111\u00ad11111111'],
    ['ﷺ ﬁ １２３－４５－６７８９ é', '１２３－４５－６７８９'],
    ['e\u0301\u0301 ١٢٣-٤٥-٦٧٨٩.', '١٢٣-٤٥-٦٧٨٩'],
    ['😀 jane＠example.com 😀', 'jane＠example.com'],
  ] as const) {
    const [found] = findIn(set, text)
    t.equal(found && text.slice(found.start, found.end), value)
  }
})

void t.test('find() finds a value on both sides of a character that vanishes', async (t) => {
  const text = '4111111111111111\u200b1 and jane@example.com\u200bx'
  t.strictSame(
    findIn(setOf(['credit_card', 'email']), text).map(({ id }) => id),
    ['credit_card', 'email'],
  )
})

void t.test('find() counts a value once that is found as sent and as it reads', async (t) => {
  t.equal(findIn(setOf(['email']), 'é jane@example.com é').length, 1)
})

void t.test('find() finds values wherever a long text is cut into slices', async (t) => {
  const set = setOf(['credit_card', 'email', 'private_key', 'api_key', 'jwt'])
  const random = randomFrom(3)
  for (let offset = -120; offset <= 40; offset += 8) {
    const kind = pick(random, ['credit_card', 'email', 'private_key', 'api_key', 'jwt'])
    const value = make[kind]?.(random) ?? ''
    const text = `${'lorem ipsum '.repeat(6_000).slice(0, 65_536 + offset)} ${value} ${'dolor '.repeat(20_000)}`
    const found = findIn(set, text).filter(({ id }) => id === kind)
    if (found.length !== 1) t.fail(`${kind} at ${offset}: ${found.length}`)
  }
  t.pass()
})

void t.test('find() lets go of the loop between slices', async (t) => {
  const steps = setOf().find('a b '.repeat(100_000), () => t.fail('nothing is there'))
  let yields = 0
  while (steps.next().done !== true) yields++
  t.equal(yields, 6)
})

void t.test('charsMax is what the longest value may have', async (t) => {
  const random = randomFrom(4)
  for (const [id, detector] of REGISTRY) {
    const set = setOf([id])
    for (let i = 0; i < 100; i++) {
      for (const { start, end } of findIn(set, make[id]?.(random) ?? '')) {
        if (end - start > detector.charsMax) t.fail(`${id} ${end - start}`)
      }
    }
  }
  t.pass()
})

void t.test('a value is found whole, whatever value stands beside it', async (t) => {
  const set = setOf(['email', 'us_ssn', 'credit_card', 'iban', 'jwt', 'api_key'])
  const ids = ['email', 'us_ssn', 'credit_card', 'iban', 'jwt', 'api_key'] as const
  const random = randomFrom(12)
  const missed: string[] = []
  for (let round = 0; round < 1500; round++) {
    const pair = [pick(random, ids), pick(random, ids)].map((id) => make[id]?.(random) ?? '')
    const between = pick(random, [' ', ', ', '; ', '\n', '\t', ' / ', ' | ', '","'])
    const [one = '', other = ''] = pair
    const text = `${one}${between}${other}`
    const isAlone = pair.every((value) => isCovered(value, findIn(set, value), 0, value.length))
    if (!isAlone) continue
    const found = findIn(set, text)
    const begins = one.length + between.length
    const isFound =
      isCovered(text, found, 0, one.length) && isCovered(text, found, begins, text.length)
    if (!isFound) missed.push(JSON.stringify(text))
  }
  t.strictSame(missed.slice(0, 10), [])
})

void t.test(
  'the last group of a card behind a number that passes for its first is found',
  async (t) => {
    const set = setOf(['us_ssn', 'credit_card'])
    for (const text of [
      '123-45-6789 4111 1111 1111 1111',
      '4111 1111 1111 1111 4111 1111 1111 1111',
      '219-09-5100 5555 5555 5555 4444',
      '078-05-6304 4111 1111 1111 1111',
    ]) {
      t.ok(isCovered(text, findIn(set, text), 0, text.length), text)
    }
  },
)

/** Whether every letter and digit from `from` to `to` is part of something that was found. */
function isCovered(
  text: string,
  found: readonly { readonly start: number; readonly end: number }[],
  ...[from, to]: readonly [number, number]
): boolean {
  return Array.from({ length: to - from }, (_, index) => from + index).every((at) => {
    const isSign = !/[\p{L}\p{N}]/u.test(text.charAt(at))
    return isSign || found.some(({ start, end }) => start <= at && at < end)
  })
}
