import type { ServerResponse } from 'node:http'

import type { Test } from 'tap'

import { answer, type Behaviour, FakeUpstream } from './fake-upstream.ts'
import { type InProcess, startGovernor, UPSTREAM_KEY } from './start-governor.ts'
import { until, within } from './until.ts'

/**
 * What every client that people use is promised, whatever it is made of: it works as if it spoke to
 * its provider, raises its own errors, and neither repeats a refusal nor sleeps for minutes.
 */

/** A provider's side of one conversation, as it is on the wire. */
export interface Wire {
  readonly dialect: string
  /** A whole answer that says `Hello there`. */
  readonly plain: unknown
  /** The same as a stream: whole events, the second one `Hello`, the last one its end. */
  readonly events: readonly (string | Buffer)[]
  readonly type: string
  /** A whole answer that calls the tool `now` with `{"zone":"UTC"}`. */
  readonly tool: unknown
  /** The provider's own error 400, which says `No such parameter`. */
  readonly failure: unknown
}

/** One client, set up as an application sets it up. */
export interface Application {
  /** One whole answer. */
  say(content: string): Promise<string>
  /** One streamed answer, as its pieces come. */
  stream(content: string, signal: AbortSignal): AsyncIterable<string>
  /** Offers the tool `now`; `now {"zone":"UTC"}` where the model calls it. */
  tool(content: string): Promise<string>
}

/** What a client made of an error. */
export interface Problem {
  /** Its class. */
  readonly name: string
  /** The status it knows; absent where it tells none. */
  readonly status?: number
  readonly message: string
}

export interface ClientCase {
  readonly wire: Wire
  /** Set up with the base URL `base` and the key, and otherwise as it comes; without retries where told. */
  connect(base: string, key: string, options: { readonly retries: boolean }): Application
  problem(error: unknown): Problem
  /** Classes of its errors: the provider's 400, a policy's 403, a limit's 429. */
  readonly errors: { readonly failed: string; readonly refused: string; readonly limited: string }
  /** It waits and tries again at a limit, by itself. */
  readonly waits: boolean
  /** An event that its tables do not know is all it can tell of an error in a stream. */
  readonly knowsNoErrorEvents?: boolean
}

const LIMITS = `
  - { id: brief, per: key, requests: 1/2s, for: { roles: [brief] } }
  - { id: minute, per: key, requests: 1/50s, for: { roles: [minute] } }
  - { id: hours, per: key, requests: 1/3h, for: { roles: [hours] } }`
const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: animals, deny: { input: { words: [zebra] } }, message: Zebras stay here }`

function joined(events: Wire['events']): Buffer {
  return Buffer.concat(events.map((event) => Buffer.from(event)))
}

/** A stream of `events`, cut where no event ends. */
function streamed({ events, type }: Wire): Behaviour {
  return async (_received, response) => {
    begin(response, type)
    const bytes = joined(events)
    for (let at = 0; at < bytes.length; at += 37) {
      response.write(bytes.subarray(at, at + 37))
      await new Promise((resolve) => setImmediate(resolve))
    }
    response.end()
  }
}

function begin(response: ServerResponse, type: string): void {
  response.writeHead(200, { 'content-type': type })
}

async function thrown(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`It did not throw: ${String(value)}`)
    },
    (error: unknown) => error,
  )
}

async function read(stream: AsyncIterable<string>, each: () => void = () => {}): Promise<string> {
  let said = ''
  for await (const piece of stream) {
    said += piece
    each()
  }
  return said
}

const never = new AbortController().signal

interface Running {
  readonly site: InProcess
  readonly upstream: FakeUpstream
  readonly app: Application
  /** Calls of the client that Governor has answered. */
  readonly answered: () => Promise<number>
}

/** Runs the client against a Governor and a scripted provider, promise by promise. */
export async function promises(t: Test, client: ClientCase): Promise<void> {
  const { wire } = client
  const upstream = await FakeUpstream.start(t)
  const sections = { dialect: wire.dialect, policies: POLICIES, limits: LIMITS }
  const site = await startGovernor(t, { ...sections, upstream: upstream.url })
  const app = client.connect(site.url, site.key, { retries: true })
  const answered = () => site.metric('governor_requests_total')
  const running: Running = { site, upstream, app, answered }
  await works(t, client, running)
  await fails(t, client, running)
  await isLimited(t, client, running)
}

async function works(t: Test, { wire }: ClientCase, { site, upstream, app }: Running) {
  await t.test('a plain call', async (t) => {
    upstream.behaviour = answer(wire.plain)
    t.equal(await app.say('Say hello'), 'Hello there')
    t.match(upstream.everything, UPSTREAM_KEY, "Governor's key goes on")
    t.notMatch(upstream.everything, site.key.split('.')[1]!, "the application's does not")
  })

  await t.test('a streamed call', async (t) => {
    upstream.behaviour = streamed(wire)
    t.equal(await read(app.stream('Say hello', never)), 'Hello there')
  })

  await t.test('a call with a tool', async (t) => {
    upstream.behaviour = answer(wire.tool)
    t.equal(await app.tool('What time is it?'), 'now {"zone":"UTC"}')
    t.match(upstream.last?.body.toString(), '"now"')
  })
}

async function fails(t: Test, client: ClientCase, { site, upstream, app, answered }: Running) {
  const { wire, errors } = client
  await t.test("the provider's error is its own", async (t) => {
    upstream.behaviour = answer(wire.failure, { status: 400 })
    const { name, status, message } = client.problem(await thrown(app.say('Say hello')))
    t.equal(name, errors.failed)
    if (status !== undefined) t.equal(status, 400)
    t.match(message, 'No such parameter')
  })

  await t.test('a refusal by policy is its own error, at once', async (t) => {
    upstream.behaviour = answer(wire.plain)
    const before = upstream.received.length
    const answeredBefore = await answered()
    for (const call of [() => app.say('a zebra'), () => read(app.stream('a zebra', never))]) {
      const { name, status, message } = client.problem(await thrown(call()))
      t.equal(name, errors.refused)
      if (status !== undefined) t.equal(status, 403)
      t.match(message, 'Zebras stay here')
    }
    t.equal((await answered()) - answeredBefore, 2, 'not tried again')
    t.equal(upstream.received.length, before, 'the provider heard nothing')
  })

  await t.test('a stream that breaks throws, in the middle of an event as well', async (t) => {
    const third = Buffer.from(wire.events[2] ?? '')
    for (const cut of [0, Math.ceil(third.length / 2)]) {
      const begun = Buffer.concat([joined(wire.events.slice(0, 2)), third.subarray(0, cut)])
      upstream.behaviour = (_received, response) => {
        begin(response, wire.type)
        response.write(begun, () => response.socket?.resetAndDestroy())
      }
      const error = await thrown(read(app.stream('Say hello', never)))
      t.type(error, Error)
      if (client.knowsNoErrorEvents === true) continue
      t.match(client.problem(error).message, 'broke off', 'it says why')
    }
  })

  await t.test('a client that leaves stops the call', async (t) => {
    upstream.behaviour = (_received, response) => {
      begin(response, wire.type)
      response.write(joined(wire.events.slice(0, 2)))
    }
    const leaving = new AbortController()
    // Some throw and some just end: the application knows that it left.
    await within(
      'the client to leave',
      read(app.stream('Say hello', leaving.signal), () => leaving.abort()).catch(() => ''),
    )
    await until('the upstream call to be cut', () => upstream.last?.closedEarly)
    await until('the call to be settled', () =>
      site.entries().some(({ body }) => body.outcome === 'client_closed'),
    )
    t.equal(await site.metric('governor_inflight_requests'), 0)
  })
}

async function isLimited(t: Test, client: ClientCase, { site, upstream, answered }: Running) {
  const { wire, errors } = client
  const asRole = async (role: string, retries: boolean) => {
    upstream.behaviour = answer(wire.plain)
    const key = await site.createKey(role, [role])
    await until('the new key to be known', async () => {
      const known = await site.send({ key, method: 'GET', path: '/v1/none' })
      return known.status !== 401
    })
    return client.connect(site.url, key, { retries })
  }

  await t.test('a limit is its own error', async (t) => {
    const limited = await asRole('minute', false)
    await limited.say('Say hello')
    const { name, status } = client.problem(await thrown(limited.say('Say hello')))
    t.equal(name, errors.limited)
    if (status !== undefined) t.equal(status, 429)
  })

  if (client.waits) {
    await t.test('a short wait is waited', async (t) => {
      const limited = await asRole('brief', true)
      await limited.say('Say hello')
      const before = await answered()
      t.equal(await limited.say('Say hello'), 'Hello there')
      t.ok((await answered()) - before <= 3, 'and not asked about again and again')
    })
  }

  await t.test('a limit of hours is an error at once', async (t) => {
    const limited = await asRole('hours', true)
    await limited.say('Say hello')
    const before = await answered()
    const { name, status } = client.problem(await thrown(limited.say('Say hello')))
    t.equal(name, errors.refused)
    if (status !== undefined) t.equal(status, 403)
    t.equal((await answered()) - before, 1, 'not tried again')
  })
}
