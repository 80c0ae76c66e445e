import t from 'tap'

import { CompactRange } from '../../src/audit/merkle.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** The leaves and roots Certificate Transparency's implementations test with. */
const LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map((leaf) => Buffer.from(leaf, 'hex'))
const ROOTS: Readonly<Record<number, string>> = {
  0: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  1: '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  2: 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  3: 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  8: '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
}

function rangeOf(begin: number, end: number): CompactRange {
  const range = new CompactRange(begin)
  for (let index = begin; index < end; index++) range.add(LEAVES[index % 8]!)
  return range
}

t.test('CompactRange has the roots of RFC 6962', async (t) => {
  for (const [size, root] of Object.entries(ROOTS)) {
    t.equal(hex(rangeOf(0, Number(size)).root()), root, `${size} leaves`)
  }
})

t.test('CompactRange gives one root however the leaves were put together', async (t) => {
  const whole = rangeOf(0, 100)
  for (let cut = 0; cut <= 100; cut++) {
    const left = rangeOf(0, cut)
    const right = rangeOf(cut, 100)
    const read = CompactRange.of(cut, 100, right.hashes)
    t.ok(read)
    left.append(read!)
    t.equal(hex(left.root()), hex(whole.root()))
    t.ok(right.hashes.length <= 14)
  }
  t.throws(() => rangeOf(0, 3).append(rangeOf(4, 5)), RangeError)
})

t.test('CompactRange.of() takes as many subtrees as its two ends have', async (t) => {
  const { hashes } = rangeOf(3, 21)
  t.ok(CompactRange.of(3, 21, hashes))
  t.equal(CompactRange.of(3, 23, hashes), null)
  t.equal(CompactRange.of(1, 21, hashes), null)
  t.equal(CompactRange.of(3, 21, hashes.slice(1)), null)
  t.equal(CompactRange.of(3, 21, [...hashes, hashes[0]!]), null)
  t.equal(CompactRange.of(3, 21, [Buffer.alloc(31), ...hashes.slice(1)]), null)
  t.equal(CompactRange.of(-1, 2, hashes), null)
  t.equal(CompactRange.of(5, 3, []), null)
  t.equal(CompactRange.of(NaN, 3, []), null)
})
