/** Seeded patterns and texts over few letters, so that they meet, with every letter that folds oddly. */

export type Random = () => number

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

export function pick<Item>(random: Random, items: readonly Item[]): Item {
  return items[Math.floor(random() * items.length)] as Item
}

const LETTERS = [
  'a',
  'B',
  'k',
  'K',
  's',
  'S',
  'ſ',
  'K',
  'é',
  'É',
  'ß',
  '-',
  ' ',
  '1',
  'σ',
  'ς',
  '😀',
]
const CLASSES = ['[a-c]', '[^a]', '\\w', '\\d', '\\s', '.', '[ks]', '[é-ë]', '\\pL', '[[:alpha:]]']
const EDGES = ['^', '$', '\\b', '\\B', '(?m:^)', '']
const REPEATS = ['', '', '', '?', '*', '+', '{2}', '{1,3}', '*?', '{0}']

export function randomPattern(random: Random, depth = 3): string {
  const flags = depth === 3 && random() < 0.5 ? pick(random, ['(?i)', '(?s)', '(?is)', '(?m)']) : ''
  const parts = Array.from({ length: 1 + Math.floor(random() * 4) }, () => part(random, depth))
  return flags + parts.join('')
}

function part(random: Random, depth: number): string {
  const kind = random()
  if (kind < 0.1) return pick(random, EDGES)
  if (kind < 0.25) return pick(random, CLASSES) + pick(random, REPEATS)
  if (kind < 0.5 && depth > 0) {
    const open = pick(random, [
      '(',
      '(?:',
      '(?i:',
      '(?-i:',
      '(?P<n>'.replace('n', `n${depth}${Math.floor(random() * 1e6)}`),
    ])
    const ways = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
      randomPattern(random, Math.min(depth, 2) - 1),
    )
    return `${open}${ways.join('|')})${pick(random, REPEATS)}`
  }
  return pick(random, LETTERS) + pick(random, REPEATS)
}

/** Letters in any order, with `seed` among them in one case or another. */
export function randomText(random: Random, seed = ''): string {
  const letters = () =>
    Array.from({ length: Math.floor(random() * 8) }, () => pick(random, [...LETTERS, '\n'])).join(
      '',
    )
  const cased = Array.from(seed, (letter) => {
    const all = LETTERS.filter((each) => each.toLowerCase() === letter.toLowerCase())
    return random() < 0.3 ? letter.toUpperCase() : pick(random, [letter, ...all])
  })
  return letters() + cased.join('') + letters()
}
