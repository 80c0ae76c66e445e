import t from 'tap'

import { FakeUpstream } from '../support/fake-upstream.ts'
import { Seeded } from '../support/seeded.ts'
import { startGovernor } from '../support/start-governor.ts'

/**
 * Goal: wherever and however a value is written, it is gone, the body is JSON, and every other byte
 * is the one that was sent. Method: bodies are made of pieces, of which some are values; what has to go
 * on is the same pieces with placeholders numbered by first appearance.
 */

const POLICIES = `
  - { id: open, allow: {} }
  - { id: pii, redact: { input: { detect: [email], words: [zebra], matches: 'K-\\d{4}-x' } } }`

const VALUES = [
  { text: 'jane.doe@example.com', label: 'EMAIL' },
  { text: 'bob@b.org', label: 'EMAIL' },
  { text: 'zebra', label: 'WORD' },
  { text: 'K-2041-x', label: 'MATCH' },
]
const FILLERS = [
  'lorem',
  'é',
  '😀',
  'q"q',
  'C:\\new\\u0041',
  'tab\t',
  'line\nline',
  '漢字',
  '{',
  '],',
  '\u2028',
  '[EMAIL_7]',
  '3.50',
  '/',
]

/** Bytes as they are, or the value at an index of `VALUES` in some spelling. */
type Piece = string | { readonly value: number; readonly spelled: string }

class Bodies {
  readonly #random: Seeded

  constructor(seed: number) {
    this.#random = new Seeded(seed)
  }

  body(): Piece[] {
    const parts = this.#list(() => this.#part())
    const messages = this.#list(() => this.#pick([() => this.#user(), () => this.#calls()]))
    return [
      '{"model":"gpt-4o" ,"messages":[{"role":"system","content":',
      ...this.#string(this.#text()),
      '},{"role":"user","content":[',
      ...parts,
      ']},',
      ...messages,
      '], "metadata":{"note":',
      ...this.#string(this.#text()),
      ',"id":1.50e3}}',
    ]
  }

  #pick<Made>(makers: readonly (() => Made)[]): Made {
    return this.#random.pick(makers)()
  }

  /** One to three, with commas. */
  #list(make: () => Piece[]): Piece[] {
    const count = Math.floor(this.#random.between(1, 4))
    return Array.from({ length: count }, (_, at) => [at === 0 ? '' : ', ', ...make()]).flat()
  }

  #part(): Piece[] {
    return ['{"type":"text","text":', ...this.#string(this.#text()), '}']
  }

  #user(): Piece[] {
    // Another role in between: what two messages of one role hold together is looked at, too.
    return [
      '{"role":"assistant","content":"ok"},{"role":"user","content":',
      ...this.#string(this.#text()),
      '}',
    ]
  }

  /** Arguments are JSON in a text, and one of them is JSON in a text once more. */
  #calls(): Piece[] {
    const inner: Piece[] = ['{"deep":', ...this.#string(this.#text()), '}']
    const args: Piece[] = [
      '{"to": ',
      ...this.#string(this.#text()),
      ' ,"n":[1, -2.50e1,null],"json":',
      ...this.#string(inner),
      '}',
    ]
    return [
      '{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":',
      ...this.#string(args),
      '}}]}',
    ]
  }

  /** Words with values between them. */
  #text(): Piece[] {
    const pieces: Piece[] = [this.#random.pick(FILLERS)]
    const count = Math.floor(this.#random.between(0, 4))
    for (let at = 0; at < count; at++) {
      const value = Math.floor(this.#random.between(0, VALUES.length))
      const spelled = this.#hidden(VALUES[value]!.text)
      pieces.push(' ', { value, spelled }, ' ', this.#random.pick(FILLERS))
    }
    return pieces
  }

  /** As another reader would see it: with nothing in it, or in another width. */
  #hidden(text: string): string {
    const way = this.#random.next()
    if (way < 0.6) return text
    if (way < 0.8) return text.replaceAll(/.(?=.)/g, '$&\u200B')
    return text.replaceAll(/[@a-y]/g, (unit) => String.fromCharCode(unit.charCodeAt(0) + 0xfee0))
  }

  /** A JSON string of the pieces, every character in one of its spellings. */
  #string(pieces: readonly Piece[]): Piece[] {
    const inside = pieces.map((piece): Piece => {
      return typeof piece === 'string'
        ? this.#escaped(piece)
        : { ...piece, spelled: this.#escaped(piece.spelled) }
    })
    return ['"', ...inside, '"']
  }

  #escaped(text: string): string {
    let written = ''
    for (const character of text) {
      const plain = JSON.stringify(character).slice(1, -1)
      written += this.#random.next() < 0.15 ? hex(character) : plain
    }
    return written
  }
}

function hex(character: string): string {
  return Array.from({ length: character.length }, (_, at) => {
    return `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`
  }).join('')
}

function sent(pieces: readonly Piece[]): string {
  return pieces.map((piece) => (typeof piece === 'string' ? piece : piece.spelled)).join('')
}

function masked(pieces: readonly Piece[]): string {
  const counts = new Map<string, number>()
  const placeholders = new Map<number, string>()
  const parts = pieces.map((piece) => {
    if (typeof piece === 'string') return piece
    const { label } = VALUES[piece.value]!
    const count = counts.get(label) ?? 0
    const placeholder = placeholders.get(piece.value) ?? `[${label}_${count + 1}]`
    if (!placeholders.has(piece.value)) counts.set(label, count + 1)
    placeholders.set(piece.value, placeholder)
    return placeholder
  })
  return parts.join('')
}

t.test('a value is gone wherever it is, and every other byte stays', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
  for (let seed = 1; seed <= 100; seed++) {
    const pieces = new Bodies(seed).body()
    const [body, expected] = [sent(pieces), masked(pieces)]
    JSON.parse(body)
    const answer = await site.send({ body })
    if (answer.status !== 200) {
      t.fail(`seed ${seed}: ${answer.text}`, { body })
      continue
    }
    const forwarded = upstream.last?.body.toString()
    if (forwarded !== expected) t.equal(forwarded, expected, `seed ${seed}`)
  }
  t.equal(upstream.received.length, 100)
})
