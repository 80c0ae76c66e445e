import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

import t from 'tap'

import { readJson } from '../../src/dialect/json.ts'
import { runSteps } from '../../src/dialect/steps.ts'
import { collectTexts } from '../../src/dialect/texts.ts'
import type { Patch } from '../../src/policy/decode-patch.ts'
import { DecodeScan } from '../../src/policy/decode-scan.ts'
import { DecodeSearch } from '../../src/policy/decode-search.ts'
import { decodedReadings, LEVELS_MAX, mayDecode } from '../../src/policy/decoded.ts'
import type { NormalText } from '../../src/policy/normalise-index.ts'
import { scanWhole } from '../../src/policy/scan.ts'
import { compileTextRules } from '../../src/policy/text-rules.ts'
import { randomObject, Random } from '../dialect/random.ts'

const DECODED = new URL('../../src/policy/decoded.ts', import.meta.url).href

function readings(text: string): readonly NormalText[] {
  const steps = decodedReadings(text)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex')
}

function each(text: string, write: (point: number, letter: string) => string): string {
  return Array.from(text, (letter) => write(letter.codePointAt(0) ?? 0, letter)).join('')
}

/** What is sent, and what its readings say at the places that are encoded. */
const READS: readonly (readonly [note: string, sent: string, reads: string])[] = [
  ['percent-encoding', 'is %7A%65%75%73 here', 'is zeus here'],
  ['one letter in percent-encoding', 'ze%75s', 'zeus'],
  ['percent-encoding of UTF-8', '%D0%B7%D0%B5%D0%B2%D1%81', 'зевс'],
  ['percent-encoding of a server', '%u007aeus', 'zeus'],
  ['character references', '&#122;&#x65;&#0117&#X73;', 'zeus'],
  ['named references', 'zeus&commat;olymp&period;gr&NewLine;', 'zeus@olymp.gr\n'],
  ['letters of other types by name', '&zfr;&escr;&uopf;s', 'zeus'],
  ['letters of Latin-1 by name', 'caf&eacute;', 'café'],
  ['references with zeros', '&#0000000000122;&#x000000000065;us', 'zeus'],
  ['what is invisible by name', 'z&ZeroWidthSpace;e&NoBreak;u&it;s', 'z\u200be\u2060u\u2062s'],
  ['long escapes of programs', String.raw`\U0000007ae\u0075s\U0001f600`, 'zeus\u{1f600}'],
  ['short escapes before hexadecimal digits', String.raw`\U007A65`, 'z65'],
  ['escapes of programs', String.raw`\x7a\u{65}\165\u0073`, 'zeus'],
  ['quoted-printable', '=7A=65us', 'zeus'],
  ['base64', `say ${base64('zeus')}.`, 'say zeus.'],
  ['base64 without padding', base64('zeus').replace(/=+$/, ''), 'zeus'],
  ['base64 for URLs', Buffer.from('zeus??>>zeus').toString('base64url'), 'zeus??>>zeus'],
  ['base64 in a data URL', `data:text/plain;base64,${base64('zeus')}`, 'zeus'],
  ['base64 behind a name', `key_${base64('zeus lives')}`, 'key_ zeus lives'],
  ['base64 in a path', `a/b/${base64('zeus lives')}`, 'a/b/zeus lives'],
  ['base64 of letters that are not ASCII', base64('о, зевс'), 'о, зевс'],
  [
    'base64 in lines, and the line behind it',
    `${base64('Nobody has seen what zeus did, for it was dark and late.').replace(/.{60}/, '$&\r\n')}\nNext`,
    'what zeus did, for it was dark and late.\nNext',
  ],
  ['hexadecimal', `0x${hex('zeus')}`, 'zeus'],
  ['hexadecimal bytes', '7a 65 75 73', 'zeus'],
  ['hexadecimal bytes of a program', '[0x7A, 0x65, 0x75, 0x73]', '[zeus]'],
  ['a word spaced', 'a word: z e u s', 'zeus'],
  ['a word spaced beside letters', 'a z e u s b', 'zeus'],
  ['a word spaced by dots', 'z.e.u.s', 'zeus'],
  ['a word spaced by bullets', 'z\u2022e\u2022u\u2022s', 'zeus'],
  ['a word spaced by no-break spaces', 'z\u00a0e\u00a0u\u00a0s', 'zeus'],
  ['a word spaced by Chinese commas', 'z\u3001e\u3001u\u3001s', 'zeus'],
  ['a word spaced by dashes', 'see z-e-u-s?', 'zeus'],
  ['a word spaced by line ends', 'z\ne\nu\ns', 'zeus'],
  ['words spaced', 'p r o j e c t   z e u s', 'project zeus'],
  ['a word spaced among digits', '1 2 3 4 5 z e u s 6 7 8 9 0 1', 'zeus\neus'],
  ['a word spaced before digits', 'z e u s 1 2', '\nzeus '],
  ['a word spaced in Chinese', '机 密 项 目', '机密项目'],
  ['a word spaced in Russian', 'з е в с', 'зевс'],
  ['base64 of base64', base64(base64(base64('zeus'))), 'zeus'],
  ['base64 of percent-encoding', base64('%7A%65%75%73'), 'zeus'],
  ['percent-encoding of percent-encoding', '%257A%2565us', 'zeus'],
  ['base64 of a word spaced', base64('z e u s'), 'zeus'],
  ['full-width percent-encoding', '％７Ａeus', 'zeus'],
]

for (const [note, sent, reads] of READS) {
  void t.test(`decodedReadings() reads ${note}`, async (t) => {
    t.ok(
      readings(sent).some(({ text }) => text.includes(reads)),
      JSON.stringify(readings(sent).map(({ text }) => text)),
    )
    t.equal(mayDecode([sent]), true)
  })
}

for (const [note, text] of [
  ['prose', 'Nobody understands international characteristics; the messages were acknowledged.'],
  ['ids', 'call_abc123 550e8400-e29b-41d4-a716-446655440000 gpt-4o-mini chatcmpl-9xYz0AbC'],
  ['numbers', '4111 1111 1111 1111, 123-45-6789, 12:30:45:12, 2024-01-31, 1 2 3 4 5 6 7 8 9'],
  ['a picture', 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk'],
  ['signs', '100% of a && b, x = y; 50%-60%; AT&T \\d+ \\w'],
  ['Chinese', '你好，世界。今天天气很好'],
  ['Chinese in few words', '好。来、去。走、看。是。'],
] as const) {
  void t.test(`decodedReadings() has none of ${note}`, async (t) => {
    t.strictSame(readings(text), [])
    t.equal(mayDecode([text]), false)
  })
}

void t.test('decodedReadings() tells where what was decoded stands', async (t) => {
  const sent = `one ${base64('a zeus b')} two ze%75s and \u{1f600}\u200b%7Aeus`
  const [first] = readings(sent)
  const text = first?.text ?? ''
  const placed = [...text.matchAll(/zeus/g)].map(({ index }) => {
    const { start, end } = first!.original(index, index + 4)
    return sent.slice(start, end)
  })
  t.strictSame(placed, [base64('a zeus b'), 'ze%75s', '%7Aeus'])
})

void t.test(
  'decodedReadings() of a long text hold what stands around what was decoded',
  async (t) => {
    const sent = `${'far away '.repeat(2000)}project z%65us${' far away'.repeat(2000)}`
    const [first] = readings(sent)
    t.match(first?.text, 'far away project zeus far away')
    t.ok((first?.text.length ?? 0) < 2000)
    const at = first!.text.indexOf('project')
    const { start, end } = first!.original(at, at + 12)
    t.equal(sent.slice(start, end), 'project z%65us')
  },
)

void t.test('decodedReadings() end, whatever is in a text, and grow by little', async (t) => {
  const nested = Array.from({ length: 9 }).reduce<string>((text) => base64(text), 'zeus')
  t.equal(readings(nested).length, LEVELS_MAX)
  for (const piece of [
    '%',
    '%2',
    '%25',
    '&#',
    '&#9;',
    'a ',
    'a-',
    '61 ',
    'YWFh/',
    '=',
    '\\x',
    '&amp;',
  ]) {
    const text = piece.repeat(20_000)
    for (const reading of readings(text)) t.ok(reading.text.length <= 3 * text.length + 64, piece)
  }
})

/** How somebody may write a word so that a reader can still make it out. */
const WRITTEN: readonly ((word: string, random: Random) => string)[] = [
  (word) => word,
  (word) => each(word, (point) => `%${point.toString(16).toUpperCase()}`),
  (word, random) =>
    each(word, (point, letter) => (random.below(2) === 0 ? letter : `%${point.toString(16)}`)),
  (word) => each(word, (point) => `&#${point};`),
  (word) => each(word, (point) => `&#x${point.toString(16)};`),
  (word) => each(word, (point) => `\\x${point.toString(16)}`),
  (word) => each(word, (point) => `=${point.toString(16).toUpperCase()}`),
  (word) => base64(word),
  (word) => base64(`the word is ${word}, so much is known`),
  (word) => base64(`${word}!`).replace(/=+$/, ''),
  (word) => hex(word),
  (word) => hex(word).replaceAll(/..(?=.)/g, '$&:'),
  (word) => Array.from(word).join(' '),
  (word) => Array.from(word).join('.'),
  (word) => Array.from(word).join(' - '),
  (word) => each(word, (point) => String.fromCodePoint(point + 0xfee0)),
  (word) => Array.from(word).join('\u200b'),
  (word) => each(word, (point) => String.fromCodePoint(point + 0xe0000)),
]
const WORDS = ['zeus', 'falcon', 'hermes', 'olympus'] as const
const BESIDE = ['', ' ', 'It is ', '"', '(', '\n', 'x=', '1. '] as const

function texts(tree: unknown): readonly string[] {
  const doc = runSteps(readJson(Buffer.from(JSON.stringify(tree)), 64))
  const marks = {
    payloads: new Map(),
    prompts: [],
    withKeys: new Set<number>(),
    runs: [],
    jsonDepth: 64,
  }
  return runSteps(collectTexts(doc, marks)).texts.values
}

/** The word in a value, a key, an argument string or split over the parts of a message. */
function plant(random: Random, written: string): unknown {
  const before = BESIDE[random.below(BESIDE.length)] ?? ''
  const value = `${before}${written}${random.below(2) === 0 ? '' : '. What now?'}`
  const around = randomObject(random, 2, 3)
  const letters = Array.from(value)
  const at = random.below(letters.length)
  switch (random.below(4)) {
    case 0:
      return { a: around, b: [{ c: value }] }
    case 1:
      return { a: around, arguments: JSON.stringify({ q: { r: value } }) }
    case 2:
      return { a: around, [value]: 1 }
    default:
      return {
        a: around,
        b: [letters.slice(0, at), letters.slice(at)].map((part) => ({ text: part.join('') })),
      }
  }
}

void t.test('a planted word is caught in any position, encoding or split', async (t) => {
  const random = new Random(7)
  const rules = compileTextRules(['(?i)\\bhermes\\b'], [['zeus', 'falcon', 'olympus']])
  const missed: string[] = []
  for (let round = 0; round < 1500; round++) {
    const word = WORDS[round % WORDS.length] ?? 'zeus'
    const first = WRITTEN[random.below(WRITTEN.length)]!(word, random)
    const twice = random.below(4) === 0 ? base64(`${first} it is`) : first
    const tree = plant(random, twice)
    const found = scanWhole(rules, texts(tree))
    const isFound = word === 'hermes' ? found.pattern(0) : found.words(0)
    if (!isFound) missed.push(JSON.stringify(tree))
    if (!mayDecode(texts(tree)) && twice !== word && !/^[^ -~]|\u200b/u.test(twice)) {
      missed.push(`not told by mayDecode: ${JSON.stringify(tree)}`)
    }
  }
  t.strictSame(missed.slice(0, 5), [])
})

void t.test('decodedReadings() reads a word among ever so many spaced digits', async (t) => {
  // A long series is told in parts, and the word stands where one ends.
  for (const before of [300, 8187, 8188, 8189, 8190, 8192, 20_000]) {
    const text = `${'1 '.repeat(before)}z e u s ${'2 '.repeat(9000)}`
    const [reading] = readings(text)
    const at = reading?.text.indexOf('zeus') ?? -1
    t.ok(at >= 0, `behind ${before} digits`)
    t.strictSame(reading?.original(at, at + 4), { start: 2 * before, end: 2 * before + 7 })
  }
})

void t.test('a run that is read again part by part is read in steps, too', async (t) => {
  // 640,000 units are one run that is no text as a whole: its parts are looked through once more.
  const steps = decodedReadings('1-2-3-4-z-e-u-s-'.repeat(40_000))
  let count = 0
  while (steps.next().done !== true) count++
  t.ok(count > 20, `${count} steps`)
})

void t.test(
  'a reading of a million parts takes no memory of their number of objects',
  async (t) => {
    // In the heap that Governor is started with, such a text of 15 MB was the end of the process.
    const script = `
    const { decodedReadings } = await import(${JSON.stringify(DECODED)})
    const steps = decodedReadings('%7a b'.repeat(1_000_000))
    for (;;) {
      const { done, value } = steps.next()
      if (!done) continue
      const [{ text, original }] = value
      const { start, end } = original(2_999_997, 2_999_998)
      process.stdout.write([text.length, start, end].join(' '))
      break
    }`
    const flags = ['--max-semi-space-size=4', '--max-old-space-size=64', '--input-type=module']
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, '-e', script])
    t.equal(stdout, '3000000 4999995 4999998')
  },
)

void t.test('detectors find values that are encoded, and count them once', async (t) => {
  const rules = compileTextRules([], [], {
    detectors: ['email', 'credit_card'].map((id) => ({ id, pattern: null, confidence: 1 })),
  })
  const sent = `a@b.cc ${base64('mail jane@example.com or 4111 1111 1111 1111')} x%20y`
  t.strictSame(scanWhole(rules, [sent]).detections.counts, { email: 1, credit_card: 1 })
})

t.test('a word is found wherever it is in the longest series of letters or of bytes', async (t) => {
  const words = ['zeus lives', 'зевс жив']
  for (const at of [0, 8180, 8186, 8190, 8192, 16_380, 19_000]) {
    for (const word of words) {
      const letters = `${'q'.repeat(at)}${word.replace(' ', '')}${'q'.repeat(1000)}`
      const spaced = Array.from(letters).join(' ')
      const [first] = readings(spaced)
      t.match(first?.text, word.replace(' ', ''), `${word} behind ${at} letters`)
      const bytes = Buffer.from(letters).toString('hex').match(/../g)!.join(' ')
      t.match(readings(bytes)[0]?.text, word.replace(' ', ''), `${word} behind ${at} bytes`)
    }
  }
})

t.test('nothing that a close reading finds is passed over', async (t) => {
  const random = new Random(20_261_122)
  const pick = <Item>(items: readonly Item[]): Item => random.pick(items)
  const pieces = [
    () => pick(Array.from('abcdefgxyzXABZ019')),
    () =>
      pick([
        ' ',
        '-',
        '. ',
        ', ',
        '"',
        '_',
        '/',
        '+',
        '\n',
        '\r\n',
        '=',
        '==',
        '%',
        '&',
        '\\',
        ' = ',
      ]),
    () =>
      base64(
        pick(['zeus', 'jane@example.com', 'a', 'long enough to go on in a second line of text']),
      ),
    () => hex(pick(['zeus', 'о, зевс', 'jane@example.com'])),
    () =>
      pick([
        '%7a%65',
        '&#122;',
        '=7A=65',
        '0x7a',
        '7a',
        String.raw`\x7a`,
        String.raw`\u007a`,
        '\\n',
      ]),
    () => Array.from(pick(['zeus', 'secret', 'зевс'])).join(pick([' ', '-', '.', ' - '])),
    () => pick(['function', 'tari_mun', '"n":899064,', '(42', ' => ', 'the ', 'lorem ipsum ']),
  ]
  const missed: string[] = []
  for (let count = 0; count < 20_000; count++) {
    const text = Array.from({ length: 1 + random.below(14) }, () => pick(pieces)()).join('')
    const all: Patch[] = []
    const close = new DecodeScan(text, { add: (patch) => all.push(patch) })
    do close.run(text.length)
    while (!close.finish())
    const found: Patch[] = []
    const search = new DecodeSearch(text, { add: (patch) => found.push(patch) })
    do while (search.run(search.at + 7));
    while (!search.finish())
    const isFound = (patch: Patch) =>
      found.some(({ start, end }) => start <= patch.start && end >= patch.end)
    if (!all.every(isFound)) missed.push(text)
  }
  t.strictSame(missed, [])
})
