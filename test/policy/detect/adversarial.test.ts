import t from 'tap'

import { REGISTRY } from '../../../src/policy/detect/registry.ts'
import { cpuMs, findIn, setOf } from './find.ts'

const UNITS = 500_000
/**
 * CPU a detector may take for half a megabyte of its worst: 4 to 50 ms were measured, and twice that where
 * others share its caches. A loop turn has an eighth of it.
 */
const MS_MAX = 125
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
  void t.test(`${id} takes less than ${MS_MAX} ms for half a megabyte of almosts`, async (t) => {
    const set = setOf([id])
    const run = (text: string) => findIn(set, text)
    const cost = (piece: string, units: number) => {
      const text = piece.repeat(Math.ceil(units / piece.length)).slice(0, units)
      return cpuMs(() => void run(text))
    }
    for (const piece of PIECES) cost(piece, 5_000)
    const costs = PIECES.map((piece) => ({ piece, ms: cost(piece, 20_000) }))
    const worst = { piece: '', ms: 0 }
    for (const { piece } of costs.sort((a, b) => b.ms - a.ms).slice(0, 2)) {
      const ms = Math.min(...[1, 2, 3].map(() => cost(piece, UNITS)))
      if (ms > worst.ms) Object.assign(worst, { piece, ms })
    }
    t.comment(`${id}: at most ${worst.ms.toFixed(0)} ms, for ${JSON.stringify(worst.piece)}`)
    t.ok(worst.ms < MS_MAX)
  })
}

void t.test('time for a long text is linear in it', async (t) => {
  const set = setOf()
  const unit =
    'Mail jane@example.com or call (415) 555-0132 before 10:30; password=hunter2! sk-abc \u0661\u0662 é. '
  const cost = (units: number) => {
    const text = unit.repeat(Math.ceil(units / unit.length)).slice(0, units)
    return Math.min(...Array.from({ length: 5 }, () => cpuMs(() => void findIn(set, text))))
  }
  cost(100_000)
  const small = cost(100_000)
  const large = cost(1_000_000)
  t.comment(`100 K units ${small.toFixed(1)} ms, 1 M units ${large.toFixed(1)} ms`)
  t.ok(large < small * 30, `${small} ms, ${large} ms`)
})
