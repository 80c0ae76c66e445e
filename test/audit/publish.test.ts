import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

import t from 'tap'

import { Publisher } from '../../src/audit/publish.ts'
import { Signer } from '../../src/audit/signing-key.ts'
import { wallMs } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { until } from '../support/until.ts'

function noteMaker(dir: string): (origin: string, size: number) => string {
  const signer = Signer.open(join(dir, 'audit.db'), wallMs())
  return (origin, size) => signer.sign({ origin, size, root: Buffer.alloc(32, size) })
}

t.test('Publisher appends each checkpoint to a file it makes', async (t) => {
  const dir = t.testdir()
  const note = noteMaker(dir)
  const file = join(dir, 'elsewhere', 'checkpoints')
  const publisher = new Publisher({ file, url: null }, silentLog)
  publisher.publish(note('a', 1))
  publisher.publish(note('b', 2))
  await publisher.close()
  t.equal(readFileSync(file, 'utf8'), `${note('a', 1)}\n${note('b', 2)}\n`)
})

t.test('Publisher puts the newest of each chain where it failed before', async (t) => {
  const dir = t.testdir({ blocked: 'a file, where a directory has to be' })
  const note = noteMaker(dir)
  const seen: string[] = []
  let status = 500
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      seen.push(`${request.method} ${request.url} ${text.split('\n')[1]}`)
      response.writeHead(status).end('x'.repeat(100_000))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}/log/`
  const publisher = new Publisher({ file: join(dir, 'blocked', 'file'), url }, silentLog)
  publisher.publish(note('a', 1))
  await until('a refusal', () => (seen.length > 0 ? true : null))
  status = 204
  publisher.publish(note('a', 2))
  publisher.publish(note('a', 3))
  publisher.publish('no note')
  await publisher.close()
  t.equal(seen[0], 'PUT /log/a 1')
  t.equal(seen.at(-1), 'PUT /log/a 3')
  t.ok(seen.length <= 4)
})

t.test('Publisher gives up on a place that answers with a redirect', async (t) => {
  const dir = t.testdir()
  writeFileSync(join(dir, 'x'), '')
  let hits = 0
  const server = createServer((_request, response) => {
    hits++
    response.writeHead(307, { location: '/other' }).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const publisher = new Publisher({ file: null, url: `http://127.0.0.1:${port}` }, silentLog)
  publisher.publish(noteMaker(dir)('a', 1))
  await publisher.close()
  t.equal(hits, 2)
})
