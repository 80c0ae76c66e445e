import { randomBytes, randomUUID } from 'node:crypto'

import t from 'tap'

import { chat } from '../support/client.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: guessing at keys costs the one who guesses, and nobody else. */

t.test(
  'floods of unknown ids, wrong secrets and odd lengths leave other callers alone',
  async (t) => {
    const site = await startGovernor(t)
    const other = await site.createKey('other')
    const victimId = other.split('.')[0]!
    t.equal((await site.send({ body: chat('hi') })).status, 200)
    const secret = site.key.split('.')[1]!
    const ownId = site.key.split('.')[0]!
    const guesses = Array.from({ length: 240 }, (_, index) => {
      const random = randomBytes(32).toString('base64url')
      return [
        `${randomUUID()}.${random}`,
        `${victimId}.${random}`,
        // bcrypt reads 72 bytes: what is longer, or has the right secret at its beginning, is wrong.
        `${ownId}.${secret}${random}`.slice(0, 37 + 72),
        `${ownId}.${secret}${'x'.repeat(100)}`,
        `${ownId}.${secret}%00${index}`,
        `${ownId}.${secret.slice(0, -1)}`,
      ][index % 6]!
    })
    const flood = Promise.all(guesses.map((key) => site.send({ key, body: chat('hi') })))
    for (let index = 0; index < 20; index++) {
      t.equal((await site.send({ body: chat('hi') })).status, 200)
    }
    const ends = (await flood).map(
      ({ status, headers }) => `${status} ${String(headers['x-governor-code'])}`,
    )
    t.strictSame(
      [...new Set(ends)].filter(
        (end) => !/^(401 AUTH_KEY_INVALID|429 AUTH_(BUSY|SLOWED))$/.test(end),
      ),
      [],
    )
    const slowed = await site.send({ key: `${ownId}.${'q'.repeat(43)}`, body: chat('hi') })
    if (slowed.status === 429) t.match(slowed.headers['retry-after'], /^[12]$/)
    t.equal((await site.send({ body: chat('hi') })).status, 200)
  },
)
