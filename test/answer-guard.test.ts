import t from 'tap'

import { chatEvent, DONE } from './support/fake-upstream.ts'
import { guardOf, outputRules, through } from './support/guard.ts'
import { Seeded } from './support/seeded.ts'

const POLICIES = `
  - { id: mask, redact: { output: { detect: [email, credit_card], matches: 'ZX-[0-9]{4}', words: [falcon] } } }
  - { id: codename, deny: { output: { matches: '(?i)project[- ]zeus' } } }`

/** The texts of a chat stream by choice, joined as an SDK would. */
function said(stream: string): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const line of stream.split('\n')) {
    if (!line.startsWith('data: {')) continue
    const { choices = [] } = JSON.parse(line.slice(6)) as {
      choices?: { index: number; delta: Record<string, unknown> }[]
    }
    for (const { index, delta } of choices) {
      for (const [field, value] of Object.entries(delta)) {
        if (typeof value === 'string')
          texts[`${index}.${field}`] = (texts[`${index}.${field}`] ?? '') + value
      }
    }
  }
  return texts
}

function piecesOf(text: string, random: () => number, most = 6): string[] {
  const pieces: string[] = []
  for (let at = 0; at < text.length;) {
    let to = at + 1 + Math.floor(random() * most)
    if (/[\ud800-\udbff]/.test(text.charAt(to - 1))) to++
    pieces.push(text.slice(at, to))
    at = to
  }
  return pieces
}

const PROSE =
  'Dear reader, meet us at noon. Write to jane.doe@example.com or JANE.DOE@example.com today; ' +
  'the card 4111 1111 1111 1111 is a test, 4111 1111 1111 1112 is none. A falcon, no falconer. ZX-1234, ' +
  'ZX-12345? mail\u200bbox@exam\u200bple.org — naïve Köln 東京 😀 done. Again jane.doe@example.com.'
const MASKED =
  'Dear reader, meet us at noon. Write to [EMAIL_1] or [EMAIL_2] today; ' +
  'the card [CREDIT_CARD_1] is a test, 4111 1111 1111 1112 is none. A [WORD_1], no falconer. [MATCH_1], ' +
  '[MATCH_1]5? [EMAIL_3] — naïve Köln 東京 😀 done. Again [EMAIL_1].'

t.test('masks the same text the same way however it is cut into events', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(7)
  const random = () => seed.next()
  for (let round = 0; round < 60; round++) {
    const events = piecesOf(PROSE, random, round + 1).map((piece) => chatEvent(piece))
    const out = through(guardOf(rules), [...events, chatEvent('', 'stop'), DONE])
    t.strictSame(said(out), { '0.content': MASKED }, `round ${round}`)
    t.ok(out.endsWith(`${chatEvent('', 'stop')}${DONE}`))
  }
})

t.test('the same bytes come out however the bytes of a stream are cut', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(11)
  const random = () => seed.next()
  const bytes = Buffer.from(
    [...piecesOf(PROSE, random).map((piece) => chatEvent(piece)), chatEvent('', 'stop'), DONE].join(
      '',
    ),
  )
  const want = through(guardOf(rules), [bytes])
  for (let round = 0; round < 40; round++) {
    const pieces: Buffer[] = []
    for (let at = 0; at < bytes.length;) {
      const to = at + 1 + Math.floor(random() * (1 + round * 20))
      pieces.push(bytes.subarray(at, to))
      at = to
    }
    t.equal(through(guardOf(rules), pieces), want)
  }
})

t.test('a stream in which nothing is found comes out byte for byte', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(3)
  const random = () => seed.next()
  const text = 'Nothing here: 12 monkeys at 5 pm, e-mail me (not). '.repeat(20)
  const stream = [
    ': keep-alive\n\n',
    ...piecesOf(text, random).map((piece) => chatEvent(piece)),
    chatEvent('', 'stop'),
    DONE,
  ]
  t.equal(through(guardOf(rules), stream), stream.join(''))
})

t.test('never lets out the beginning of what a deny is about', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(5)
  const random = () => seed.next()
  for (let round = 0; round < 40; round++) {
    const before = 'words before '.repeat(Math.floor(random() * 20))
    const stream = piecesOf(`${before}the Project Zeus begins`, random, 1 + (round % 9)).map(
      (each) => chatEvent(each),
    )
    const guard = guardOf(rules)
    const out = through(guard, [...stream, chatEvent('', 'stop'), DONE])
    t.equal(guard.failure?.code, 'POLICY_DENIED')
    t.equal(guard.failure?.policy, 'codename')
    t.notMatch(said(out)['0.content'] ?? '', /pro/i)
    t.strictSame(guard.policies, [
      { id: 'codename', mode: 'enforce', result: 'denied', why: 'output.matches' },
    ])
  }
})

t.test('text that nothing can begin in any more does not wait for the end', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const guard = guardOf(rules)
  const text = 'all is calm on this fine morning '.repeat(20)
  const out = guard.chunk(Buffer.from(chatEvent(text) + chatEvent('x'))).toString()
  t.equal(out, '')
  const more = guard.chunk(Buffer.from(chatEvent(text))).toString()
  t.equal(more, chatEvent(text) + chatEvent('x'))
})
