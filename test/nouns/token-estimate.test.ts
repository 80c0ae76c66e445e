import t from 'tap'

import { estimateTokens, isUnweighed, TokenCounter, weigh } from '../../src/nouns/token-estimate.ts'
import { inTurns } from '../../src/turns.ts'

function promptOf(text: string, uninspectable = 0) {
  const kinds = Array.from({ length: uninspectable }, () => {
    return { kind: 'image', pointer: '' } as const
  })
  const texts = { values: ['user', 'content', text], pointer: () => '' }
  return { texts, inputChars: text.length, uninspectable: kinds }
}

const estimate = (text: string, uninspectable = 0) => estimateTokens(promptOf(text, uninspectable))

/** Characters a token of o200k covers, as measured elsewhere on 100 KB of each. */
for (const [what, text, charsPerToken] of [
  ['English', 'The quick brown fox jumps over the lazy dog, and then it sleeps. '.repeat(50), 5.2],
  ['TypeScript', 'const found = list.map(({ id }) => names[id] ?? null)\n'.repeat(50), 3.2],
  ['JSON', '{"id":17,"name":"ada","tags":["x","y"],"at":"2026-11-21"},'.repeat(50), 2.6],
  ['Chinese', '人工智能正在改变我们的生活方式'.repeat(50), 1.5],
  ['base64', 'qK8fZ0bT1xYpR7wLmN3cVd5eHjSgUa2iO9tQ+/kX'.repeat(50), 1.4],
] as const) {
  t.test(`estimateTokens() is within 60 % above and 15 % below for ${what}`, async (t) => {
    const real = text.length / charsPerToken
    const ratio = estimate(text) / real
    t.ok(ratio > 0.85 && ratio < 1.6, `${ratio.toFixed(2)} × real`)
  })
}

t.test('estimateTokens() of nothing is not nothing', async (t) => {
  t.ok(estimate('') >= 1)
  t.ok(estimate('', 2) > 2_000, 'what cannot be read counts')
})

/** What is behind more of other text than is looked at in one go; about what o200k makes of a unit. */
for (const [what, text, tokensPerUnit] of [
  ['Chinese', '人工智能正在改变我们的生活方式', 1 / 1.5],
  ['base64', 'qK8fZ0bT1xYpR7wLmN3cVd5eHjSgUa2iO9tQ+/kX', 1 / 1.4],
  ['emoji', '😀🎉', 1],
] as const) {
  t.test(`a long prompt is not estimated low for ${what} at its end`, async (t) => {
    const units = 1_000_000
    const end = text.repeat(Math.ceil(units / text.length)).slice(0, units)
    const real = units * tokensPerUnit
    const prompt = promptOf('a '.repeat(200_000) + end)
    t.equal(isUnweighed(prompt), true)
    t.ok(estimateTokens(prompt) >= real, 'nor where nobody weighed it')
    await inTurns(weigh(prompt))
    t.equal(isUnweighed(prompt), false)
    const weighed = estimateTokens(prompt) - estimate('a '.repeat(120_000)) / 0.6
    t.ok(weighed > 0.85 * real && weighed < 1.6 * real, `${weighed} of ${real}`)
  })
}

t.test('what is weighed in turns is what is weighed at once', async (t) => {
  const text = 'Say hello to 人工智能, qK8fZ0bT1xYpR7wLmN3cVd5eHjSgUa2iO9tQkJh {"id":17}. '
  const [short, long] = [text.repeat(1_000), text.repeat(10_000)]
  const prompt = promptOf(long)
  await inTurns(weigh(prompt))
  t.equal(Math.round(estimateTokens(prompt) / estimate(short) / 0.01), 1000)
})

t.test('estimateTokens() takes time in proportion to the text', async (t) => {
  // A tokenizer needs 40 s for this, the estimate a hundredth of a second.
  const began = performance.now()
  estimate('a'.repeat(4_000_000))
  t.ok(performance.now() - began < 10_000)
})

t.test('TokenCounter counts the same wherever a text is cut', async (t) => {
  const text =
    'Say hello to 人工智能, qK8fZ0bT1xYpR7wLmN3cVd5eHjSgUa2iO9tQkJh and {"id":17}. '.repeat(9)
  const whole = new TokenCounter()
  whole.add(text)
  t.ok(whole.tokens > 100)
  for (const size of [1, 2, 7, 33]) {
    const pieces = new TokenCounter()
    for (let at = 0; at < text.length; at += size) pieces.add(text.slice(at, at + size))
    t.equal(pieces.tokens, whole.tokens, `pieces of ${size}`)
  }
})
