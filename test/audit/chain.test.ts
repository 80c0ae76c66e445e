import { createHash } from 'node:crypto'

import t from 'tap'

import { chainHasher, NO_HASH } from '../../src/audit/chain.ts'

const WRITER = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')

// The preimage is spelled out byte by byte, so that neither the code nor this test can drift.
t.test('chainHasher() gives the hash of the written-out preimage', async (t) => {
  const body = Buffer.from('{"kind":"heartbeat"}')
  const preimage = Buffer.from(
    [
      '676f7665726e6f722f656e7472792f763100', // "governor/entry/v1\0"
      '000102030405060708090a0b0c0d0e0f', // writer id
      '00000002', // epoch 2
      '0000000100000003', // seq 2^32 + 3
      '00060a24181e4000', // 1 700 000 000 000 000 µs
      '11'.repeat(32), // hash before
      createHash('sha256').update(body).digest('hex'),
    ].join(''),
    'hex',
  )
  t.equal(preimage.length, 118)
  const place = {
    seq: 2 ** 32 + 3,
    occurredAtUs: 1_700_000_000_000_000,
    prevHash: Buffer.alloc(32, 0x11),
  }
  t.equal(
    chainHasher(WRITER, 2)(place, body).toString('hex'),
    createHash('sha256').update(preimage).digest('hex'),
  )
})

t.test('chainHasher() is a fixed function of its input', async (t) => {
  const hash = chainHasher(WRITER, 1)(
    { seq: 1, occurredAtUs: 0, prevHash: NO_HASH },
    Buffer.from('{}'),
  )
  t.equal(hash.toString('hex'), '6c6f05e2f2a336a57fb3fdd614f18dea083520dbd2aa24c48b678780d2b73d0c')
})

t.test('chainHasher() writes times before 1970 as two’s complement', async (t) => {
  const hasher = chainHasher(WRITER, 1)
  const at = (occurredAtUs: number) =>
    hasher({ seq: 1, occurredAtUs, prevHash: NO_HASH }, Buffer.from('{}')).toString('hex')
  t.equal(new Set([at(-1), at(0), at(1), at(2 ** 32 - 1), at(2 ** 32)]).size, 5)
  const preimage = Buffer.alloc(118)
  preimage.write('governor/entry/v1\0', 'latin1')
  WRITER.copy(preimage, 18)
  preimage.writeUInt32BE(1, 34)
  preimage.writeBigUInt64BE(1n, 38)
  preimage.writeBigInt64BE(-1n, 46)
  createHash('sha256').update('{}').digest().copy(preimage, 86)
  t.equal(at(-1), createHash('sha256').update(preimage).digest('hex'))
})

t.test('chainHasher() refuses a writer id of another length', async (t) => {
  t.throws(() => chainHasher(Buffer.alloc(15), 1), /16 bytes/)
})
