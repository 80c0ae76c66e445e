import { constants, gzipSync, zstdCompressSync } from 'node:zlib'

import t from 'tap'

import { decode, type DecodeOptions } from '../../src/http/decode.ts'

const OPTIONS: DecodeOptions = {
  decodedBytesMax: 40_000_000,
  hold: () => {},
  isWanted: () => true,
}

/** What became of each: `ok`, or the code of its error. */
async function outcomes(decodes: readonly Promise<unknown>[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { status, ...result } of await Promise.allSettled(decodes)) {
    const name = status === 'fulfilled' ? 'ok' : String(Object(Object(result).reason).code)
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

t.test('decode() lets two run and 64 wait, and refuses more', async (t) => {
  const bytes = gzipSync(Buffer.alloc(300_000))
  let running = 0
  let most = 0
  const options = {
    ...OPTIONS,
    isWanted: () => {
      running += 1
      most = Math.max(most, running)
      return true
    },
  }
  const decodes = Array.from({ length: 70 }, () =>
    decode(bytes, 'gzip', options).finally(() => {
      running -= 1
    }),
  )
  t.strictSame(await outcomes(decodes), { ok: 66, OVERLOADED: 4 })
  t.ok(most <= 3, `${most} at once, one of them just ending`)
  t.equal((await decode(bytes, 'gzip', OPTIONS)).bytes.length, 300_000, 'and all is as before')
})

t.test('decode() does nothing for a client that has left, and hands its turn on', async (t) => {
  const gone = { ...OPTIONS, isWanted: () => false }
  const decodes = Array.from({ length: 10 }, (_value, index) =>
    decode(gzipSync('{}'), 'gzip', index < 9 ? gone : OPTIONS),
  )
  t.strictSame(await outcomes(decodes), { CLIENT_CLOSED: 9, ok: 1 })
})

t.test('decode() holds what it allocates before it does', async (t) => {
  let heldBytes = 0
  const hold = (bytes: number): void => {
    heldBytes += bytes
    if (heldBytes > 3_000_000) throw new Error('no more')
  }
  const small = await decode(gzipSync(Buffer.alloc(1_500_000)), 'gzip', { ...OPTIONS, hold })
  t.equal(small.bytes.length, 1_500_000)
  t.equal(small.heldBytes, heldBytes)
  heldBytes = 0
  const bomb = zstdCompressSync(Buffer.alloc(30_000_000))
  await t.rejects(decode(bomb, 'zstd', { ...OPTIONS, hold }), { code: 'INTERNAL' })
  t.ok(heldBytes < 6_000_000, `${heldBytes} when it ended`)
})

t.test('decode() stops at the maximum, of all frames together', async (t) => {
  const options = { ...OPTIONS, decodedBytesMax: 1000 }
  const frame = zstdCompressSync(Buffer.alloc(500))
  t.equal((await decode(Buffer.concat([frame, frame]), 'zstd', options)).bytes.length, 1000)
  const three = Buffer.concat([frame, frame, frame])
  await t.rejects(decode(three, 'zstd', options), { code: 'BODY_TOO_LARGE' })
})

t.test('decode() refuses more than a thousand frames', async (t) => {
  const frame = zstdCompressSync('')
  const frames = (count: number) => Buffer.concat(Array.from({ length: count }, () => frame))
  t.equal((await decode(frames(1000), 'zstd', OPTIONS)).bytes.length, 0)
  await t.rejects(decode(frames(1001), 'zstd', OPTIONS), { code: 'ENCODING_INVALID' })
})

for (const [windowLog, want] of [
  [23, 'ok'],
  [24, 'ENCODING_INVALID'],
] as const) {
  t.test(`decode() takes a zstd window of 2 to the ${windowLog} as ${want}`, async (t) => {
    const params = { [constants.ZSTD_c_windowLog]: windowLog }
    const bytes = zstdCompressSync(Buffer.alloc(30_000_000), { params })
    t.strictSame(await outcomes([decode(bytes, 'zstd', OPTIONS)]), { [want]: 1 })
  })
}
