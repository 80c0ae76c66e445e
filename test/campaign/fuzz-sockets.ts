import { hash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'

import { type RawData, WebSocket, WebSocketServer } from 'ws'

import { Seeded } from '../support/seeded.ts'
import { ChildGovernor, configText, Site, writeConfig } from '../support/start-governor.ts'
import { FORBIDDEN } from './fuzz-cases.ts'
import type { FuzzOptions } from './fuzz.ts'
import { makeSocketCase, SOCKET_KINDS, type SocketCase, type SocketKind } from './socket-cases.ts'

/**
 * Opens sessions at a sidecar with what is nearly an upgrade, nearly a frame and nearly an event, from both
 * sides. It must not fall, must come to an end with each of them, and must send on nothing that it did not
 * inspect and record. A case is made from the seed and its number; a campaign that was ended goes on.
 */
export interface SocketFuzzReport {
  readonly problems: readonly string[]
  readonly cases: Readonly<Record<SocketKind, number>>
  /** Cases in which the client got a frame. */
  readonly answered: number
  /** Messages that reached the provider. */
  readonly forwarded: number
}

const AT_ONCE = 16
const PROBLEMS_MAX = 50
const CASE_MS_MAX = 30_000
/** A client that has heard something listens on for as long, and then leaves. */
const LISTEN_MS = 150
/** Whoever hears nothing at all, as behind half an upgrade, leaves then. */
const SILENCE_MS = 2000
const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: animals, deny: { input: { matches: '(?i)${FORBIDDEN}' } } }
  - { id: birds, deny: { output: { words: [bluebird] } } }`
const TIMEOUTS = '{ client_headers: 1s, client_body: 1s, connect: 2s, idle: 2s, drain: 5s }'

export async function fuzzSockets(options: FuzzOptions): Promise<SocketFuzzReport> {
  const campaign = await Campaign.open(options)
  try {
    const endMs = performance.now() + (options.withinMs ?? Number.POSITIVE_INFINITY)
    while (campaign.next < options.times && performance.now() < endMs && !campaign.isOver) {
      await campaign.round(Math.min(options.times, campaign.next + 8 * AT_ONCE))
      options.say?.(`${campaign.next}/${options.times}: ${campaign.problems.length} problems`)
    }
    return await campaign.finish()
  } finally {
    await campaign.close()
  }
}

/** A provider of sessions that keeps what it is sent and says, by hand, what a case wants it to. */
class Provider {
  readonly messages = new Set<string>()
  readonly problems: string[] = []
  /** What the provider of the next session says, in raw bytes; empty where it answers as usual. */
  readonly says: Buffer[][] = []
  readonly #server = createServer((_, outgoing) => outgoing.writeHead(404).end())
  readonly #sockets = new WebSocketServer({ server: this.#server, perMessageDeflate: true })

  constructor() {
    this.#sockets.on('connection', (socket: WebSocket, head: IncomingMessage) => {
      socket.on('error', ({ message }) => {
        // The other side left in the middle, which it may; what is no frame it may not send.
        if (/^(?:Invalid|Unsupported|RSV|FIN|MASK)/.test(message)) this.problems.push(message)
      })
      if (head.headers['sec-websocket-extensions'] !== undefined) {
        this.problems.push('The provider was offered an extension')
      }
      for (const bytes of this.says.shift() ?? []) head.socket.write(bytes)
      socket.on('message', (data: RawData) => this.#see(socket, data as Buffer))
    })
  }

  async open(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #see(socket: WebSocket, message: Buffer): void {
    const text = message.toString()
    if (text.includes('governor_cancel')) return
    this.messages.add(hash('sha256', message))
    try {
      if (new RegExp(FORBIDDEN, 'i').test(JSON.stringify(JSON.parse(text)))) {
        this.problems.push(`The forbidden word passed: ${text.slice(0, 200)}`)
      }
    } catch {
      this.problems.push(`What is no JSON passed: ${text.slice(0, 200)}`)
    }
    if (text.includes('"setup"')) socket.send(Buffer.from('{"setupComplete":{}}'))
    if (!text.includes('response.create')) return
    const response = { id: `resp_${this.messages.size}` }
    for (const type of ['response.created', 'response.output_text.delta', 'response.completed']) {
      socket.send(JSON.stringify({ type, response, response_id: response.id, delta: 'hi' }))
    }
  }
}

class Campaign {
  readonly problems: string[] = []
  next: number
  readonly #options: FuzzOptions
  readonly #site: Site
  readonly #provider: Provider
  readonly #child: ChildGovernor
  readonly #cases = Object.fromEntries(SOCKET_KINDS.map((kind) => [kind, 0])) as Record<
    SocketKind,
    number
  >
  #answered = 0

  private constructor(options: FuzzOptions, site: Site, provider: Provider) {
    this.#options = options
    this.#site = site
    this.#provider = provider
    this.#child = new ChildGovernor(site.file)
    this.next = existsSync(this.#state) ? Number(readFileSync(this.#state, 'utf8')) : 0
  }

  static async open(options: FuzzOptions): Promise<Campaign> {
    mkdirSync(options.directory, { recursive: true })
    const provider = new Provider()
    const upstream = await provider.open()
    const live = `{ name: live, dialect: gemini, url: '${upstream}', credential: '\${UPSTREAM_KEY}' }`
    const sections = { upstream, upstreams: [live], policies: POLICIES, timeouts: TIMEOUTS }
    const site = new Site(options.directory, configText(sections))
    site.key = await site.createKey(`fuzz-${options.seed}`)
    const campaign = new Campaign(options, site, provider)
    await campaign.#child.ready()
    return campaign
  }

  get #state(): string {
    return join(this.#options.directory, 'next-socket')
  }

  /** The sidecar fell; there is nothing left to try. */
  get isOver(): boolean {
    const { exitCode, signalCode } = this.#child.process
    return exitCode !== null || signalCode !== null || this.problems.length >= PROBLEMS_MAX
  }

  /** The cases up to `end`, several at once, and then a plain session. */
  async round(end: number): Promise<void> {
    const work = async () => {
      while (this.next < end && !this.isOver) await this.#try(this.next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    if (this.isOver) return
    this.#provider.says.length = 0
    const problem = await plainSession(this.#child.url, this.#site.key)
    if (problem !== null) this.#problem(`A plain session: ${problem}`)
    writeConfig(this.#state, String(this.next))
  }

  async #try(number: number): Promise<void> {
    const random = new Seeded(this.#options.seed * 1_000_003 + number)
    const one = makeSocketCase(number, this.#site.key, random)
    this.#cases[one.kind] += 1
    if (one.says.length > 0) this.#provider.says.push([...one.says])
    const heard = await converse(this.#child.url, one)
    if (heard === null) this.#problem(`Case ${number} (${one.kind}) did not come to an end`)
    else if (heard.includes('Internal error')) this.#problem(`Case ${number}: an internal error`)
    else {
      if (heard.includes(' 101 ')) this.#answered += 1
      return
    }
    writeFileSync(join(this.#options.directory, `case-${number}`), Buffer.concat(one.sent))
  }

  #problem(problem: string): void {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push(problem)
  }

  /** Ends it properly, and compares what the provider saw with what is recorded. */
  async finish(): Promise<SocketFuzzReport> {
    if (this.isOver && this.problems.length < PROBLEMS_MAX) {
      this.#problem(`The sidecar fell: ${this.#child.stderr.slice(-2000)}`)
    }
    const code = await this.#child.kill('SIGTERM')
    if (code !== 0) this.#problem(`The sidecar ended with ${code}`)
    const { code: verified, stdout } = await this.#site.cli('audit', 'verify', '--strict')
    if (verified !== 0) this.#problem(`verify ended with ${verified}: ${stdout}`)
    const recorded = new Set<string>()
    for (const { kind, body } of this.#site.entries()) {
      if (kind !== 'decision' || body['forward'] !== true) continue
      const bytes = (body['forwarded'] ?? body['received']) as { sha256: string } | undefined
      if (bytes !== undefined) recorded.add(bytes.sha256)
    }
    for (const sha256 of this.#provider.messages) {
      if (!recorded.has(sha256)) this.#problem(`A message was sent on and not recorded: ${sha256}`)
    }
    const problems = [...this.problems, ...this.#provider.problems].slice(0, PROBLEMS_MAX)
    const forwarded = this.#provider.messages.size
    return { problems, cases: this.#cases, answered: this.#answered, forwarded }
  }

  async close(): Promise<void> {
    await this.#child.kill('SIGKILL')
    await this.#provider.close()
  }
}

/** Says what the case says and listens until the other side closes, or for a while; null: it hung. */
function converse(url: string, { sent, leaves }: SocketCase): Promise<Buffer | null> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const heard: Buffer[] = []
    const socket: Socket = connect({ host: hostname, port: Number(port) })
    const late = setTimeout(() => over(null), CASE_MS_MAX)
    let listening: NodeJS.Timeout | undefined
    const over = (bytes: Buffer | null) => {
      clearTimeout(late)
      clearTimeout(listening)
      socket.destroy()
      resolve(bytes)
    }
    socket.on('error', () => {})
    socket.on('close', () => over(Buffer.concat(heard)))
    const leave = () => over(Buffer.concat(heard))
    socket.on('data', (chunk: Buffer) => {
      heard.push(chunk)
      clearTimeout(listening)
      if (leaves) listening = setTimeout(leave, LISTEN_MS)
    })
    socket.on('connect', () => {
      void (async () => {
        for (const piece of sent) {
          if (socket.destroyed) return
          socket.write(piece)
          await new Promise((spoken) => setImmediate(spoken))
        }
        if (!leaves) socket.end()
        else if (heard.length === 0) listening = setTimeout(leave, SILENCE_MS)
      })()
    })
  })
}

/** A session that is answered; null, or what is wrong with it. */
async function plainSession(url: string, key: string): Promise<string | null> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/realtime?model=m`, {
    headers: { authorization: `Bearer ${key}` },
  })
  try {
    return await new Promise<string | null>((resolve) => {
      const late = setTimeout(() => resolve('no answer'), CASE_MS_MAX)
      const done = (problem: string | null) => {
        clearTimeout(late)
        resolve(problem)
      }
      socket.on('error', ({ message }) => done(message))
      socket.on('close', (code: number) => done(`closed with ${code}`))
      socket.on('open', () => socket.send('{"type":"response.create"}'))
      socket.on('message', (data: RawData) => {
        if ((data as Buffer).includes('response.output_text.delta')) done(null)
      })
    })
  } finally {
    socket.terminate()
  }
}
