import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { keyListPath, readKeyList, Signer } from '../../src/audit/signing-key.ts'

t.test(
  'Signer: a key that another process left out of the list counts from when it was made',
  async (t) => {
    const path = join(t.testdir(), 'audit.db')
    const madeMs = Date.now()
    Signer.open(path, madeMs)
    const [made] = readKeyList(keyListPath(path))
    // Two first starts at once: the list that was written last knows only the key that was not taken.
    writeFileSync(keyListPath(path), '{"keys":[]}')
    Signer.open(path, madeMs + 60_000)
    const [found, ...others] = readKeyList(keyListPath(path))
    t.equal(found?.id, made?.id)
    t.strictSame(others, [])
    t.ok(found!.fromMs < madeMs + 30_000, 'what it signed meanwhile holds')
    t.equal(found!.untilMs, null)
  },
)
