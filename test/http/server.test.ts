import { once } from 'node:events'
import { createServer } from 'node:http'
import { request as tlsRequest } from 'node:https'
import { connect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'

import t, { type Test } from 'tap'

import { DIALECTS } from '../../src/dialects.ts'
import { createProxyServer, listen, type ServerOptions } from '../../src/http/server.ts'
import { Authority } from '../support/certificates.ts'
import { RawConnection } from '../support/raw-http.ts'
import { until } from '../support/until.ts'

/**
 * Goal: connections that say nothing keep nobody out. Method: the proxy's own listener with places for
 * four, and a stand-in for the walk that answers everything but `/wait` at once.
 */

async function subject(t: Test, more: Partial<ServerOptions> = {}) {
  const server = createProxyServer({
    headersMs: 60_000,
    bodyMs: 60_000,
    connectionsMax: 4,
    tls: null,
    onExchange: ({ incoming, outgoing }) => {
      if (incoming.url === '/wait') outgoing.write('so far')
      else outgoing.end('done')
    },
    opensSession: () => false,
    onMalformed: () => {},
    dialect: () => DIALECTS.openai,
    ...more,
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as { port: number }
  return { server, port, url: `http://127.0.0.1:${port}` }
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`

t.test('the connection that has been silent longest makes room for a new one', async (t) => {
  const { url } = await subject(t)
  const open = () => RawConnection.open(url)
  const waits = await open()
  waits.send(get('/wait'))
  await until('its answer to begin', () => waits.unread.includes('so far'))
  const slow = await open()
  slow.send('GET / HTTP/1.1\r\nhost: a\r\n')
  const silent = await open()
  const used = await open()
  used.send(get('/'))
  t.equal((await used.answer()).status, 200)
  const next = await open()
  next.send(get('/'))
  t.equal((await next.answer()).status, 200)
  await until('half a head to make room', () => slow.closed)
  const last = await open()
  last.send(get('/'))
  t.equal((await last.answer()).status, 200)
  await until('the silent one to make room', () => silent.closed)
  t.strictSame([waits.closed, used.closed, next.closed], [false, false, false])
  const flood = await Promise.all(Array.from({ length: 200 }, open))
  await until('most of them to be closed', () => flood.filter((each) => each.closed).length >= 197)
  const after = await open()
  after.send(get('/'))
  t.equal((await after.answer()).status, 200)
  t.equal(waits.closed, false, 'what is being answered is left alone')
  for (const each of [waits, after, ...flood]) each.destroy()
})

t.test('where all are being answered the newest is closed', async (t) => {
  const { url } = await subject(t)
  const waiting: RawConnection[] = []
  for (let index = 0; index < 4; index++) {
    const each = await RawConnection.open(url)
    each.send(get('/wait'))
    await until('its answer to begin', () => each.unread.includes('so far'))
    waiting.push(each)
  }
  const more = await RawConnection.open(url)
  await more.untilClosed()
  t.notOk(waiting.some(({ closed }) => closed))
  waiting.pop()!.destroy()
  await until('its place to be free', async () => {
    const next = await RawConnection.open(url)
    next.send(get('/'))
    const isServed = await next.answer().then(
      () => true,
      () => false,
    )
    next.destroy()
    return isServed
  })
  for (const each of waiting) each.destroy()
})

t.test('with TLS too, whether hands were shaken or not', async (t) => {
  const authority = new Authority()
  const { cert, key } = authority.issue({ subject: { CN: 'proxy' }, ips: ['127.0.0.1'] })
  const { port } = await subject(t, {
    tls: {
      cert: { file: '', pem: cert },
      key: { file: '', pem: key },
      clientCa: null,
      clientAuth: 'optional',
    },
  })
  const ask = () =>
    new Promise<number>((resolve, reject) => {
      tlsRequest({ host: '127.0.0.1', port, ca: authority.cert, agent: false }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode ?? 0))
      })
        .on('error', reject)
        .end()
    })
  const sockets: Socket[] = []
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let round = 0; round < 3; round++) {
    for (let index = 0; index < 4; index++) {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      sockets.push(socket)
      await once(socket, 'connect')
    }
    t.equal(await ask(), 200)
    for (let index = 0; index < 4; index++) {
      const socket = tlsConnect({ host: '127.0.0.1', port, ca: authority.cert })
      socket.on('error', () => {})
      sockets.push(socket)
      await once(socket, 'secureConnect')
    }
    t.equal(await ask(), 200)
  }
  await until('places of those that left', () => sockets.filter((each) => !each.closed).length <= 4)
})

t.test('an address that is none of this machine is an error that says what to do', async (t) => {
  await t.rejects(listen(createServer(), { host: '192.0.2.1', port: 0 }, 'listen.proxy'), {
    message:
      'Cannot listen on 192.0.2.1:0 (listen.proxy): this machine has no such address: ' +
      'choose one of its own, 127.0.0.1 or 0.0.0.0',
  })
})
