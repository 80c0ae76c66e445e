import t from 'tap'

import { REGISTRY } from '../../../src/policy/detect/registry.ts'
import { cpuMs, findIn, setOf } from './find.ts'

const UNITS = 500_000
/**
 * A detector that is not linear takes minutes for this. Those there are take a fiftieth of the bound, so that
 * no machine is too slow for it; how fast they are is a matter for the bench.
 */
const MS_MAX = 5_000
/** Pieces that come close to a value, over and over. */
const PIECES = [
  'a',
  '@',
  'a@',
  'a@a',
  'a@a.',
  'x at y dot ',
  '1',
  '1 ',
  '1-',
  '1.',
  '1.1.1.',
  '4111 ',
  '4111-',
  '12345678 ',
  'a 1234567890 ',
  'tel 2125',
  '0044 ',
  '+',
  '+1 ',
  '+49 ',
  '(',
  '0123-',
  '012 ',
  '415-',
  '123-45-',
  'ssn 123456789 ',
  'DE89',
  'DE89 ',
  '::',
  '1:',
  'a:b:',
  'fe80::',
  'eyJ',
  'eyJ ',
  'eyJhbGciOiJIUzI1NiJ9.',
  '-----BEGIN ',
  '-----BEGIN PRIVATE KEY-----',
  'PuTTY-User-Key-File-2: a\n',
  'sk-',
  'sk- ',
  'SG.',
  'AccountKey=',
  ':AA',
  '-us',
  'JQQJ99',
  'api_key',
  'api_key: ',
  'password',
  'password=',
  'password=:::',
  'password: a',
  '://',
  'a://b:',
  'a://b:c',
  'basic AAAA',
  'authorization: Basic ',
  'aB3',
  'aB3 ',
  'AKIAIOSFODNN7EXAMPL3 ',
  'x=',
  'ignore ',
  'ignore all the ',
  'ignore all previous ',
  'you are now a ',
  'show your ',
  '[system]',
  '<<sys>>',
  'without any ',
  'send the ',
  '\\n',
  '%40',
] as const

for (const id of REGISTRY.keys()) {
  void t.test(`${id} is not held up by half a megabyte of almosts`, async (t) => {
    const set = setOf([id])
    const cost = (piece: string, units: number) => {
      const text = piece.repeat(Math.ceil(units / piece.length)).slice(0, units)
      return cpuMs(() => void findIn(set, text))
    }
    for (const piece of PIECES) cost(piece, 5_000)
    const costs = PIECES.map((piece) => ({ piece, ms: cost(piece, 20_000) }))
    for (const { piece } of costs.sort((a, b) => b.ms - a.ms).slice(0, 3)) {
      const ms = cost(piece, UNITS)
      t.comment(`${id}: ${ms.toFixed(0)} ms for ${JSON.stringify(piece)}`)
      t.ok(ms < MS_MAX, piece)
    }
  })
}

void t.test('nor are all of them by a long text that is full of values', async (t) => {
  const unit =
    'Mail jane@example.com or call (415) 555-0132 before 10:30; password=hunter2! sk-abc \u0661\u0662 é. '
  const text = unit.repeat(1_000_000 / unit.length)
  t.ok(cpuMs(() => void findIn(setOf(), text)) < MS_MAX)
})
