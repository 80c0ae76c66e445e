import t from 'tap'

import { compilePolicies } from '../../src/policy/compile.ts'
import { planRedaction } from '../../src/policy/redact.ts'
import { NO_SELECTORS } from '../../src/policy/selectors.ts'

const COMPILED = compilePolicies({
  policies: [
    {
      id: 'mask',
      mode: 'enforce',
      message: null,
      for: null,
      verb: 'redact',
      selectors: {
        ...NO_SELECTORS,
        input: {
          detect: ['email'],
          matches: 'EMP-\\d+',
          words: ['zeus'],
          charsMax: null,
          tokensMax: null,
        },
      },
    },
  ],
  defaults: {
    decision: 'deny',
    onError: 'deny',
    unknownOperation: 'deny',
    uninspectable: 'deny',
    mode: 'enforce',
  },
  aliases: {},
})

function plan(...values: readonly string[]) {
  const texts = { values, pointer: (index: number) => `/${index}` }
  const steps = planRedaction(COMPILED, COMPILED.policies, { texts, cut: 'inner' })
  for (let turns = 0; ; turns++) {
    const { done, value } = steps.next()
    if (done === true) return { turns, redaction: value }
  }
}

void t.test('planRedaction() numbers values of one text and of many in the same way', async (t) => {
  const values = ['Zeus wrote a@example.com', 'b@example.com and a@example.com', 'EMP-12, ZEUS']
  const edits = plan(...values).redaction?.edits
  t.strictSame(edits, [
    { index: 0, start: 0, end: 4, text: '[WORD_1]' },
    { index: 0, start: 11, end: 24, text: '[EMAIL_1]' },
    { index: 1, start: 0, end: 13, text: '[EMAIL_2]' },
    { index: 1, start: 18, end: 31, text: '[EMAIL_1]' },
    { index: 2, start: 0, end: 6, text: '[MATCH_1]' },
    { index: 2, start: 8, end: 12, text: '[WORD_2]' },
  ])
})

void t.test('planRedaction() gives way every thousand values', async (t) => {
  const mails = Array.from({ length: 40_000 }, (_, i) => `m${i}@example.com`)
  for (const values of [[mails.join(' ')], mails]) {
    const { turns, redaction } = plan(...values)
    t.equal(redaction?.edits.length, 40_000)
    t.equal(redaction?.edits.at(-1)?.text, '[EMAIL_40000]')
    t.ok(turns > 100, `${turns} turns`)
  }
})

void t.test('planRedaction() stops searching where there is too much to mask', async (t) => {
  const { turns, redaction } = plan('a@b.de '.repeat(2_000_000))
  t.equal(redaction, null)
  t.ok(turns < 40, `${turns} turns`)
  t.equal(plan(...Array.from({ length: 2 }, () => 'a@b.de '.repeat(60_000))).redaction, null)
})
