import t from 'tap'

import { Inbox } from '../../src/session/inbox.ts'

/** An inbox with what it did to its socket, and what it was told to do by hand. */
function inbox(work: Readonly<Record<string, () => void | Promise<void>>>) {
  const did: string[] = []
  const source = { pause: () => void did.push('pause'), resume: () => void did.push('resume') }
  const take = (name: string): void | Promise<void> => {
    did.push(name)
    return work[name]?.()
  }
  const own = new Inbox<string>(source, take, (error) => void did.push((error as Error).message))
  return { own, did }
}

t.test('Inbox takes messages in order, and its socket is not read meanwhile', async (t) => {
  const gate = Promise.withResolvers<void>()
  const { own, did } = inbox({ slow: () => gate.promise })
  for (const name of ['quick', 'slow', 'next', 'last']) own.push(name)
  t.strictSame(did, ['quick', 'slow', 'pause'])
  gate.resolve()
  await gate.promise
  await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(did, ['quick', 'slow', 'pause', 'next', 'last', 'resume'])
})

t.test('Inbox tells of what fails, at once or later, and goes on', async (t) => {
  const { own, did } = inbox({
    throws: () => {
      throw new Error('thrown')
    },
    rejects: () => Promise.reject(new Error('rejected')),
  })
  for (const name of ['throws', 'rejects', 'last']) own.push(name)
  await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(did, ['throws', 'thrown', 'rejects', 'pause', 'rejected', 'last', 'resume'])
})
