import { hash } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { gzipSync } from 'node:zlib'

import { migrate } from '../../src/audit/migrate.ts'
import { open, type Sent } from '../support/client.ts'
import { answer, chatEvent, DONE, FakeUpstream, type Received } from '../support/fake-upstream.ts'
import { type PostgresServer, runSql } from '../support/postgres-server.ts'
import { Seeded } from '../support/seeded.ts'
import { ChildGovernor, configText, Site, writeConfig } from '../support/start-governor.ts'
import { until } from '../support/until.ts'
import {
  type AnswerSeen,
  audit,
  type CrashReport,
  type Evidence,
  type UpstreamSaw,
} from './crash-audit.ts'

/**
 * Kills a sidecar under load with SIGKILL, again and again, on the same files, and then asks the
 * audit: does it have every decision a client or the upstream could have seen, and does each
 * forwarded call have one outcome? What clients and upstream saw is kept outside the sidecar, in
 * `answers.jsonl` and `upstream.jsonl`, so that a campaign can be ended and taken up again.
 */
export interface CrashOptions {
  readonly directory: string
  /** How often it is killed, former runs in the same directory included. */
  readonly times: number
  readonly seed: number
  readonly clients?: number
  /** It lives at most this long after its first answer. */
  readonly loadMsMax?: number
  readonly say?: (line: string) => void
  /** Where everything is shipped to meanwhile; killed now and then itself. */
  readonly postgres?: PostgresServer
}

const KEYS = 4
/** A machine that does other things, too, may take long for a start. */
const START_MS = 120_000
/** Refusals of one key beyond 20 a second share an entry, which then has no request id to look for. */
const DENIALS_APART_MS = 100
/** A campaign that is taken up again leaves out the numbers its last calls may have had. */
const SERIAL_GAP = 1_000_000

export async function crashCampaign(options: CrashOptions): Promise<CrashReport> {
  const campaign = await Campaign.open(options)
  try {
    for (let round = campaign.roundsDone; round < options.times; round++) {
      const heard = await campaign.round(round)
      options.say?.(`${round + 1}/${options.times}: killed after ${heard} answers`)
    }
    return await campaign.finish()
  } finally {
    await campaign.close()
  }
}

class Campaign {
  readonly #options: CrashOptions
  readonly #site: Site
  readonly #upstream: FakeUpstream
  readonly #keys: readonly string[]
  readonly #answers: string
  readonly #calls: string
  readonly #state: string
  readonly #nextDenialMs = new Map<string, number>()
  roundsDone: number
  #serial: number

  private constructor(options: CrashOptions, site: Site, upstream: FakeUpstream) {
    this.#options = options
    this.#site = site
    this.#upstream = upstream
    this.#answers = join(options.directory, 'answers.jsonl')
    this.#calls = join(options.directory, 'upstream.jsonl')
    this.#state = join(options.directory, 'state.json')
    const state = readState(this.#state)
    this.roundsDone = state.rounds
    const former = [...readLines<AnswerSeen>(this.#answers), ...readLines<UpstreamSaw>(this.#calls)]
    this.#serial = former.reduce((most, { serial }) => Math.max(most, serial), 0) + SERIAL_GAP
    this.#keys = state.keys
  }

  static async open(options: CrashOptions): Promise<Campaign> {
    mkdirSync(options.directory, { recursive: true })
    const upstream = new FakeUpstream()
    await upstream.open()
    const { postgres } = options
    if (postgres !== undefined) {
      await migrate(postgres.url, Date.now())
      writeConfig(join(options.directory, 'database-url'), postgres.url)
    }
    const text = configText({
      upstream: upstream.url,
      usage: 'ask',
      ...(postgres && { audit: '{ path: audit.db, ship: { postgres_file: database-url } }' }),
    })
    const site = new Site(options.directory, text)
    const statePath = join(options.directory, 'state.json')
    if (!existsSync(statePath)) {
      const keys = []
      for (let index = 0; index < KEYS; index++) keys.push(await site.createKey(`client-${index}`))
      writeConfig(statePath, JSON.stringify({ rounds: 0, keys }))
    }
    const campaign = new Campaign(options, site, upstream)
    upstream.behaviour = (received, response) => campaign.#serve(received, response)
    return campaign
  }

  /** Starts, loads, kills. Answers how many answers began. */
  async round(round: number): Promise<number> {
    const random = new Seeded(this.#options.seed * 1_000_003 + round)
    const child = new ChildGovernor(this.#site.file)
    const load = { heard: 0, over: false }
    try {
      if (random.next() < 0.15) {
        // Also while it starts, and cleans up after the former one.
        await pause(random.between(0, 700))
      } else {
        await child.ready(START_MS)
        await this.#underLoad(child.url, random, load)
      }
    } finally {
      await child.kill('SIGKILL')
      load.over = true
    }
    await until('the clients to notice', () => this.#running === 0)
    this.roundsDone = round + 1
    writeConfig(this.#state, JSON.stringify({ rounds: this.roundsDone, keys: this.#keys }))
    return load.heard
  }

  /** Starts once more, ends it properly, and compares what everybody saw. */
  async finish(): Promise<CrashReport> {
    const child = new ChildGovernor(this.#site.file)
    await child.ready(START_MS)
    const exitCode = await child.kill('SIGTERM')
    const verified = await this.#site.cli('audit', 'verify', '--strict')
    const { postgres } = this.#options
    const shipping = postgres && (await this.#shipping(postgres.url))
    return audit({
      entries: this.#site.entries(),
      answers: readLines<AnswerSeen>(this.#answers),
      calls: readLines<UpstreamSaw>(this.#calls),
      exitCode,
      verified,
      ...(shipping && { shipping }),
    })
  }

  /** Ships what the last shutdown had no time for, and reads both sides. */
  async #shipping(url: string): Promise<NonNullable<Evidence['shipping']>> {
    const { code, stdout, stderr } = await this.#site.cli('audit', 'ship')
    const rows = await runSql<{ hash: string }>(
      url,
      `SELECT encode(hash, 'hex') AS hash FROM governor.entries ORDER BY writer_id, epoch, seq`,
    )
    return {
      code,
      stdout: stdout + stderr,
      local: this.#site.hashes(),
      there: rows.map(({ hash }) => hash),
    }
  }

  async close(): Promise<void> {
    await this.#upstream.close()
  }

  #running = 0

  async #underLoad(url: string, random: Seeded, load: Load): Promise<void> {
    const clients = this.#options.clients ?? 16
    for (let index = 0; index < clients; index++) {
      const key = this.#keys[index % this.#keys.length]!
      this.#running += 1
      void this.#client(url, { key, random: new Seeded(random.next() * 2 ** 32), load }).finally(
        () => {
          this.#running -= 1
        },
      )
    }
    await until('the first answer', () => load.heard > 0)
    const { postgres } = this.#options
    if (postgres !== undefined && random.next() < 0.3) {
      await postgres.kill()
      await postgres.start()
    }
    await pause(random.between(5, this.#options.loadMsMax ?? 350))
  }

  /** One keep-alive connection that calls until it breaks. */
  async #client(url: string, client: Client): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    try {
      while (!client.load.over) await this.#call(url, client, agent)
    } catch {
      // The sidecar was killed under it.
    } finally {
      agent.destroy()
    }
  }

  async #call(url: string, { key, random, load }: Client, agent: Agent): Promise<void> {
    const serial = ++this.#serial
    const sent = this.#compose(serial, key, random)
    const { response } = await open(url, { ...sent, key, agent })
    load.heard += 1
    // From here on the client has heard of it, whatever happens to the rest.
    const seen: AnswerSeen = {
      serial,
      requestId: String(response.headers['x-governor-request-id']),
      status: response.statusCode ?? 0,
      code: String(response.headers['x-governor-code'] ?? ''),
      sha256: hash('sha256', sent.body as Buffer),
    }
    appendFileSync(this.#answers, `${JSON.stringify(seen)}\n`)
    // All of it is read, so that the connection can be used again.
    await finished(response.resume())
  }

  #compose(serial: number, key: string, random: Seeded): Sent {
    const kind = random.pick([
      'plain',
      'plain',
      'plain',
      'stream',
      'stream',
      'gzip',
      'model',
      'text',
    ])
    const denied = kind === 'model' || kind === 'text'
    const nowMs = performance.now()
    const mayBeDenied = denied && nowMs >= (this.#nextDenialMs.get(key) ?? 0)
    if (mayBeDenied) this.#nextDenialMs.set(key, nowMs + DENIALS_APART_MS)
    const content = mayBeDenied && kind === 'text' ? 'about project zeus' : 'a plain question'
    const body = Buffer.from(
      JSON.stringify({
        model: mayBeDenied && kind === 'model' ? 'gpt-5' : 'gpt-4o',
        seed: serial,
        messages: [{ role: 'user', content }],
        ...(kind === 'stream' && { stream: true }),
      }),
    )
    if (kind !== 'gzip') return { body }
    return { body: gzipSync(body), headers: { 'content-encoding': 'gzip' } }
  }

  async #serve(received: Received, response: Parameters<FakeUpstream['behaviour']>[1]) {
    const { sha256, body } = received
    const { seed, stream } = JSON.parse(body.toString()) as { seed: number; stream?: boolean }
    appendFileSync(this.#calls, `${JSON.stringify({ serial: seed, sha256 })}\n`)
    this.#upstream.received.length = 0
    const random = new Seeded(seed)
    if (random.next() < 0.3) await pause(random.between(1, 40))
    if (stream !== true) return answer()(received, response)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let index = 0; index < 6 && !response.destroyed; index++) {
      response.write(chatEvent('word '))
      await pause(random.between(0, 10))
    }
    response.end(chatEvent('', 'stop') + DONE)
  }
}

interface Load {
  heard: number
  over: boolean
}

interface Client {
  readonly key: string
  readonly random: Seeded
  readonly load: Load
}

function readState(path: string): { rounds: number; keys: string[] } {
  return JSON.parse(readFileSync(path, 'utf8')) as { rounds: number; keys: string[] }
}

/** Lines of JSON; one that a killed campaign left half-written at the end is taken off. */
function readLines<Value>(path: string): Value[] {
  if (!existsSync(path)) return []
  const text = readFileSync(path, 'utf8')
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  if (whole.length < text.length) writeFileSync(path, whole)
  return whole
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Value)
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
