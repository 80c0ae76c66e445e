import { once } from 'node:events'
import { request } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

import { Registry } from 'prom-client'
import t, { type Test } from 'tap'

import { createAdminServer } from '../../src/http/admin.ts'
import { until } from '../support/until.ts'

async function subject(t: Test) {
  const server = createAdminServer({
    registry: new Registry(),
    unready: () => [],
    beforeScrape: () => {},
    hosts: null,
    api: null,
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const open = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    return socket
  }
  const probe = (): Promise<number> =>
    new Promise((resolve, reject) => {
      request({ port, path: '/livez', agent: false }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode ?? 0))
      })
        .on('error', reject)
        .end()
    })
  return { open, probe }
}

t.test('createAdminServer() answers probes however many connections are silent', async (t) => {
  const { open, probe } = await subject(t)
  const first = await open()
  for (let index = 1; index < 64; index++) await open()
  t.equal(await probe(), 200)
  await until('the oldest to make room', () => first.closed)
  t.equal(await probe(), 200)
  const more = await Promise.all(Array.from({ length: 100 }, open))
  t.equal(await probe(), 200)
  t.ok(more.some(({ closed }) => !closed))
})

t.test(
  'createAdminServer() counts a connection as silent only when nobody is answered',
  async (t) => {
    const { open } = await subject(t)
    const scraper = await open()
    scraper.write('GET /livez HTTP/1.1\r\nhost: a\r\n\r\n')
    await once(scraper, 'data')
    const idle = await Promise.all(Array.from({ length: 63 }, open))
    scraper.write('GET /livez HTTP/1.1\r\nhost: a\r\n\r\n')
    await once(scraper, 'data')
    await open()
    await until('one to make room', () => idle.some(({ closed }) => closed))
    t.equal(scraper.closed, false, 'it was answered after the others came')
  },
)
