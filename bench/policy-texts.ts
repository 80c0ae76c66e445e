/** Prompts nobody wrote, in the kinds people send; the same for the same seed. */

export const KINDS = ['prose', 'code', 'json', 'cjk'] as const
export type Kind = (typeof KINDS)[number]
export type Random = () => number

/** Numbers in [0, 1), the same for the same seed (xorshift32). */
export function randomFrom(seed: number): Random {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 4_294_967_296
  }
}

const SYLLABLES =
  'ta ri no sel mun der pla vo ge lim ast or en ip qua der fin ul mor he ba cru wi jon kle'.split(
    ' ',
  )
const SIGNS = ['(', ')', ' = ', '; ', ' { ', ' }\n  ', '.', ', ', ' => ', '[0]', ' + ', '\n']

function word(random: Random): string {
  const count = 1 + Math.floor(random() * 3)
  return Array.from({ length: count }, () => pick(random, SYLLABLES)).join('')
}

function pick<Item>(random: Random, items: readonly Item[]): Item {
  return items[Math.floor(random() * items.length)] as Item
}

const PIECES: Readonly<Record<Kind, (random: Random) => string>> = {
  prose: (random) => word(random) + pick(random, [' ', ' ', ' ', ' ', ', ', '. ', '\n']),
  code: (random) => word(random) + pick(random, SIGNS) + pick(random, ['', '', '42', '"x"']),
  json: (random) => `"${word(random)}_${word(random)}":${Math.floor(random() * 1e6)},`,
  cjk: (random) =>
    String.fromCharCode(0x4e00 + Math.floor(random() * 3000)) +
    pick(random, ['', '', '', '', '。', '，', 'API ']),
}

/** A text of about `units` UTF-16 units. */
export function textOf(kind: Kind, units: number, random: Random): string {
  const pieces: string[] = []
  for (let length = 0; length < units;) {
    const piece = PIECES[kind](random)
    pieces.push(piece)
    length += piece.length
  }
  return pieces.join('').slice(0, units)
}

/** Texts that come close to what policies and detectors look for, over and over. */
export const HOSTILE: readonly string[] = [
  'a',
  'a@a.',
  '1-',
  '1.1.1.',
  '4111 ',
  '4111-1111-1111-111 ',
  '123-45-',
  'DE89 ',
  'eyJhbGciOiJIUzI1NiJ9.',
  '-----BEGIN PRIVATE KEY-----',
  'sk-',
  'api_key: ',
  'password=:::',
  'a://b:c',
  'aB3 ',
  'ignore all previous ',
  'you are now a ',
  'e\u0301\u0323',
  '\uff21\uff22\uff11',
  '\u200b',
  '\u{e0041}',
  '\uac00\u11a8',
  '\ufdfa',
  'word1 project zeu ',
]

/** Texts full of what policies and detectors look for. */
export const FULL: readonly string[] = [
  'a@b.cc ',
  'jane@example.com, ',
  'a@b.cc，',
  '4111 1111 1111 1111 ',
  '123-45-6789 ',
  'AKIAIOSFODNN7EXAMPL3 ',
  'EMP3-123456 ',
  'aB3\u200b',
]
