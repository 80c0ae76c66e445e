import t from 'tap'

import { randomFrom } from '../random.ts'
import { findIn, setOf } from './find.ts'
import { around, impostor, make } from './generate.ts'

/** At least this much of each, by detector: of what is found, of what is there. */
const FLOORS: Readonly<Record<string, readonly [number, number]>> = {
  email: [0.98, 0.98],
  phone: [0.97, 0.95],
  us_ssn: [0.98, 0.98],
  credit_card: [0.98, 0.98],
  iban: [0.98, 0.98],
  ip_address: [0.98, 0.97],
  jwt: [0.98, 0.98],
  private_key: [0.98, 0.98],
  api_key: [0.98, 0.98],
  password: [0.98, 0.95],
  high_entropy: [0.95, 0.95],
  prompt_injection: [0.95, 0.95],
}
const EACH = 400

for (const [id, [precisionMin, recallMin]] of Object.entries(FLOORS)) {
  void t.test(`${id} finds what is one and leaves what is none`, async (t) => {
    const set = setOf([id])
    const random = randomFrom(20_261_121)
    const missed: string[] = []
    const wrong: string[] = []
    for (let i = 0; i < EACH; i++) {
      const value = make[id]?.(random) ?? ''
      const text = around(random, value)
      if (findIn(set, text).length === 0) missed.push(text)
      const other = around(random, impostor[id]?.(random) ?? '')
      if (findIn(set, other).length > 0) wrong.push(other)
    }
    const found = EACH - missed.length
    const precision = found / (found + wrong.length)
    const recall = found / EACH
    t.comment(
      `${id}: precision ${precision.toFixed(3)}, recall ${recall.toFixed(3)} of ${EACH} + ${EACH}`,
    )
    for (const text of missed.slice(0, 8)) t.comment(`missed ${JSON.stringify(text.slice(0, 200))}`)
    for (const text of wrong.slice(0, 8)) t.comment(`wrong ${JSON.stringify(text.slice(0, 200))}`)
    t.ok(precision >= precisionMin, `precision ${precision}`)
    t.ok(recall >= recallMin, `recall ${recall}`)
  })
}
