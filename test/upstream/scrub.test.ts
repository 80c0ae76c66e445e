import t from 'tap'

import { Scrubber } from '../../src/upstream/scrub.ts'

const SECRET = 'sk-proj-abcabd'
const TEXT = `{"error":"Incorrect API key provided: ${SECRET}, ${SECRET}"}`
const CLEAN = TEXT.replaceAll(SECRET, '[redacted]')

t.test('whole() replaces the secret and leaves other bodies alone', async (t) => {
  const scrubber = new Scrubber(SECRET)
  t.equal(scrubber.whole(Buffer.from(TEXT)).toString(), CLEAN)
  const other = Buffer.from('nothing here')
  t.equal(scrubber.whole(other), other, 'the same buffer')
})

t.test('chunk() finds the secret at every split point', async (t) => {
  for (let first = 0; first <= TEXT.length; first++) {
    for (const second of [first, Math.min(first + 3, TEXT.length), TEXT.length]) {
      const scrubber = new Scrubber(SECRET)
      const parts = [TEXT.slice(0, first), TEXT.slice(first, second), TEXT.slice(second)]
      const out = parts.map((part) => scrubber.chunk(Buffer.from(part)).toString()).join('')
      t.equal(out + scrubber.flush().toString(), CLEAN, `${first} ${second}`)
    }
  }
})

t.test('chunk() holds nothing back from ordinary events', async (t) => {
  const scrubber = new Scrubber(SECRET)
  const event = Buffer.from('data: {"x":1}\n\n')
  t.equal(scrubber.chunk(event), event)
})

const error = (text: string) => Buffer.from(`{"error":"é \\n ${text}"}`)

for (const spelling of [
  'sk\\u002dproj-abcabd',
  'sk\\u002Dproj-abcabd',
  SECRET.replaceAll(/./g, (one) => `\\u00${one.charCodeAt(0).toString(16)}`),
]) {
  t.test(`wholeError() finds ${spelling}`, async (t) => {
    const scrubber = new Scrubber(SECRET)
    t.strictSame(
      scrubber.wholeError(error(`${spelling}, ${SECRET}`)).toString(),
      error('[redacted], [redacted]').toString(),
    )
    const near = error(spelling.slice(0, -1))
    t.equal(scrubber.wholeError(near), near, 'the same buffer')
  })
}

t.test('wholeError() finds short escapes and secrets of any characters', async (t) => {
  const secret = 'a"b\\c/(d)+$é\u{1f600}'
  const scrubber = new Scrubber(secret)
  const plain = JSON.stringify(secret).slice(1, -1)
  for (const spelling of [
    plain,
    plain.replace('/', '\\/'),
    plain.replace('\u{1f600}', '\\uD83D\\ude00'),
  ]) {
    t.equal(scrubber.wholeError(Buffer.from(`"${spelling}"`)).toString(), '"[redacted]"', spelling)
  }
})
