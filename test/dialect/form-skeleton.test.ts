import { randomBytes } from 'node:crypto'

import t from 'tap'

import { skeletonOf, wholeBytes, wholeForm } from '../../src/dialect/form-skeleton.ts'
import { parseForm } from '../../src/dialect/multipart.ts'
import { GovernorError } from '../../src/errors.ts'
import { Random } from './random.ts'

const BOUNDARY = 'b-1'
const LARGE = 70_000

/** A file in memory that counts how much of it was asked for at once. */
class Memory {
  readonly #whole: Buffer
  most = 0

  constructor(bytes: Buffer) {
    this.#whole = bytes
  }

  get bytes(): number {
    return this.#whole.length
  }

  read(start: number, end: number): Promise<Buffer> {
    this.most = Math.max(this.most, end - start)
    return Promise.resolve(this.#whole.subarray(start, end))
  }
}

interface Field {
  readonly name: string
  readonly content: string | Buffer
  readonly more?: string
}

function form(...fields: readonly Field[]): Buffer {
  const parts = fields.flatMap(({ name, content, more = '' }) => [
    Buffer.from(`--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`),
    Buffer.from(content),
    Buffer.from('\r\n'),
  ])
  return Buffer.concat([...parts, Buffer.from(`--${BOUNDARY}--\r\n`)])
}

const file = (content: string | Buffer, more = ''): Field => {
  return { name: 'file', content, more: `; filename="a.bin"${more}` }
}

function cut(bytes: Buffer, bytesMax = 1_000_000) {
  const memory = new Memory(bytes)
  const skeleton = skeletonOf(memory, { boundary: BOUNDARY, bytesMax, hold: () => {} })
  return { memory, skeleton }
}

async function whole(bytes: Buffer, spooled: Awaited<ReturnType<typeof skeletonOf>>['spooled']) {
  const pieces: Buffer[] = []
  for await (const piece of wholeForm(bytes, spooled, BOUNDARY)) pieces.push(piece)
  return Buffer.concat(pieces)
}

async function outcome(task: () => unknown): Promise<string> {
  try {
    await task()
    return 'accepted'
  } catch (error) {
    return error instanceof GovernorError ? error.message : String(error)
  }
}

t.test('skeletonOf() leaves large files out, and wholeForm() puts them back', async (t) => {
  const random = new Random(1)
  for (let round = 0; round < 60; round++) {
    const fields = Array.from({ length: 1 + random.below(5) }, (_, index): Field => {
      const bytes = randomBytes(random.pick([0, 10, 65_000, LARGE, 300_000]))
      const length = random.pick(['', `\r\nContent-Length: ${bytes.length}`])
      return random.below(3) === 0
        ? { name: `field${index}`, content: `value ${index}` }
        : { name: 'image[]', content: bytes, more: `; filename="${index}"${length}` }
    })
    const sent = form(...fields)
    const { memory, skeleton } = cut(sent)
    const { bytes, spooled } = await skeleton
    const large = fields.filter(({ content }) => content.length >= LARGE)
    t.equal(spooled.holes.length, large.length)
    t.equal(wholeBytes(bytes, spooled), sent.length)
    t.ok((await whole(bytes, spooled)).equals(sent), `round ${round}`)
    t.ok(memory.most <= 256 * 1024, 'read in pieces')
    t.strictSame(
      parseForm(bytes, BOUNDARY, spooled.holes).map(({ name, filename }) => [name, filename]),
      parseForm(sent, BOUNDARY).map(({ name, filename }) => [name, filename]),
    )
  }
})

t.test('skeletonOf() keeps long fields, and files whose lines are read', async (t) => {
  const long = form({ name: 'prompt', content: 'a'.repeat(LARGE) }, file(Buffer.alloc(LARGE)))
  t.strictSame(
    (await cut(long).skeleton).spooled.holes.map(({ part }) => part),
    [1],
  )
  const lines = file('{}\n'.repeat(LARGE))
  for (const [purpose, left] of [
    ['batch', 0],
    ['fine-tune', 0],
    ['user_data', 1],
  ] as const) {
    const field = { name: 'purpose', content: purpose }
    // The purpose may come after the file.
    for (const sent of [form(field, lines), form(lines, field)]) {
      t.equal((await cut(sent).skeleton).spooled.holes.length, left, purpose)
    }
  }
  const sent = form({ name: 'purpose', content: 'batch' }, lines)
  t.match(await outcome(() => cut(sent, 1000).skeleton), /at most 1000 bytes/)
})

t.test('skeletonOf() accepts no form that parseForm() does not', async (t) => {
  const content = (text: string) =>
    file(Buffer.concat([Buffer.alloc(LARGE, 'x'), Buffer.from(text)]))
  const odd: Readonly<Record<string, Buffer>> = {
    'the boundary within a line of a file': form(content(`a--${BOUNDARY}\r\n`)),
    'the boundary after a mere LF': form(content(`a\n--${BOUNDARY}\r\n`)),
    'the boundary in headers': form({
      name: 'file',
      content: Buffer.alloc(LARGE),
      more: `; filename="--${BOUNDARY}"`,
    }),
    'the boundary in headers, as a line': form({
      name: 'file',
      content: Buffer.alloc(LARGE),
      more: `; filename="a"\r\n--${BOUNDARY}\r\nX: y`,
    }),
    'no end': form(content('')).subarray(0, -7),
    'more after the end': Buffer.concat([form(content('')), Buffer.alloc(LARGE)]),
    'a part in the content': form(
      content(`\r\n--${BOUNDARY}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nzebra`),
    ),
    'a longer boundary': form(content(`\r\n--${BOUNDARY}x\r\n`)),
    'a wrong length': form(file(Buffer.alloc(LARGE), '\r\nContent-Length: 0')),
    'headers without end': Buffer.concat([Buffer.from(`--${BOUNDARY}\r\n`), Buffer.alloc(LARGE)]),
    nothing: Buffer.alloc(0),
    'something else': Buffer.alloc(LARGE, 'x'),
    'many parts': form(...Array.from({ length: 129 }, () => ({ name: 'a', content: '' }))),
    // Cut where pieces are read, and one byte before and after.
    ...Object.fromEntries(
      [-6, -5, -4, -3, -2, -1, 0, 1].map((by) => {
        const head = form(file('')).length - 12
        const bytes = Buffer.alloc(256 * 1024 - head + by, 'x')
        return [`a boundary at a cut, ${by}`, form(file(bytes), { name: 'b', content: 'c' })]
      }),
    ),
  }
  for (const [name, bytes] of Object.entries(odd)) {
    const strict = await outcome(() => parseForm(bytes, BOUNDARY))
    const found = await outcome(() => cut(bytes).skeleton)
    // Of what no client writes, more is refused.
    const isWanted = name !== 'the boundary in headers' && strict === 'accepted'
    t.equal(found === 'accepted', isWanted, `${name}: ${strict}, ${found}`)
  }
})

t.test('wholeForm() puts files where their parts are now, and fails for other parts', async (t) => {
  const large = Buffer.alloc(LARGE, 'x')
  const sent = form({ name: 'prompt', content: 'from Ann' }, file(large), {
    name: 'z',
    content: '',
  })
  const { bytes, spooled } = await cut(sent).skeleton
  const edited = Buffer.from(bytes.toString('latin1').replace('Ann', '[NAME_1]'), 'latin1')
  const wanted = sent.toString('latin1').replace('Ann', '[NAME_1]')
  t.equal((await whole(edited, spooled)).toString('latin1'), wanted)
  const other = form({ name: 'prompt', content: '' })
  t.match(await outcome(() => whole(other, spooled)), /other parts than before/)
})
