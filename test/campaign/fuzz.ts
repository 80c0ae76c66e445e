import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'

import { chat, send } from '../support/client.ts'
import { Seeded } from '../support/seeded.ts'
import { ChildGovernor, configText, Site, writeConfig } from '../support/start-governor.ts'
import { type Answering, type FuzzCase, type Kind, KINDS, makeCase } from './fuzz-cases.ts'
import { FuzzUpstream } from './fuzz-upstream.ts'

/**
 * Sends a sidecar what is nearly HTTP, nearly JSON, nearly a form and nearly an event stream, from both sides. It
 * must not fall, must come to an end with each of them, and must forward nothing that it did not
 * inspect and record. A case is made from the seed and its number; a campaign that was ended goes on
 * with the next one.
 */
export interface FuzzOptions {
  readonly directory: string
  /** Number of the last case, those of former runs in the same directory included. */
  readonly times: number
  readonly seed: number
  /** No case begins later than this after the start. */
  readonly withinMs?: number
  readonly say?: (line: string) => void
}

export interface FuzzReport {
  readonly problems: readonly string[]
  readonly cases: Readonly<Record<Kind, number>>
  /** Cases in which the client read at least the head of an answer. */
  readonly answered: number
  /** Bodies that reached the provider. */
  readonly forwarded: number
}

const AT_ONCE = 16
const PROBLEMS_MAX = 50
/** Longer than any of the sidecar's own time-outs, on a machine that has other work to do. */
const CASE_MS_MAX = 30_000
const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'], uninspectable: [audio] } }
  - { id: animals, deny: { input: { matches: '(?i)zebra' } } }`
const TIMEOUTS =
  '{ client_headers: 1s, client_body: 1s, connect: 2s, first_byte: 3s, idle: 2s, drain: 5s }'

export async function fuzzCampaign(options: FuzzOptions): Promise<FuzzReport> {
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

class Campaign {
  readonly problems: string[] = []
  next: number
  readonly #options: FuzzOptions
  readonly #site: Site
  readonly #upstream: FuzzUpstream
  readonly #child: ChildGovernor
  readonly #cases = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>
  #answered = 0

  private constructor(options: FuzzOptions, site: Site, upstream: FuzzUpstream) {
    this.#options = options
    this.#site = site
    this.#upstream = upstream
    this.#child = new ChildGovernor(site.file)
    this.next = existsSync(this.#state) ? Number(readFileSync(this.#state, 'utf8')) : 0
  }

  static async open(options: FuzzOptions): Promise<Campaign> {
    mkdirSync(options.directory, { recursive: true })
    const upstream = new FuzzUpstream()
    const { url, rawUrl } = await upstream.open()
    const raw = `{ name: raw, dialect: openai, url: '${rawUrl}', credential: '\${UPSTREAM_KEY}' }`
    const sections = { upstream: url, upstreams: [raw], policies: POLICIES, timeouts: TIMEOUTS }
    const site = new Site(options.directory, configText(sections))
    site.key = await site.createKey(`fuzz-${options.seed}`)
    const campaign = new Campaign(options, site, upstream)
    await campaign.#child.ready()
    return campaign
  }

  get #state(): string {
    return join(this.#options.directory, 'next')
  }

  /** The sidecar fell; there is nothing left to try. */
  get isOver(): boolean {
    const { exitCode, signalCode } = this.#child.process
    return exitCode !== null || signalCode !== null || this.problems.length >= PROBLEMS_MAX
  }

  /** The cases up to `end`, several at once, and then a plain call. */
  async round(end: number): Promise<void> {
    const work = async () => {
      while (this.next < end && !this.isOver) await this.#try(this.next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    if (this.isOver) return
    const probe = await send(this.#child.url, { key: this.#site.key, body: chat('hi') })
    if (probe.status !== 200) this.#problem(`A plain call got ${probe.status} ${probe.text}`)
    writeConfig(this.#state, String(this.next))
  }

  async #try(number: number): Promise<void> {
    const random = new Seeded(this.#options.seed * 1_000_003 + number)
    const one = makeCase(number, this.#site.key, random)
    this.#cases[one.kind] += 1
    if (one.answer !== undefined) this.#upstream.answers.set(number, one.answer)
    const before = this.problems.length
    const heard = await converse(this.#child.url, one)
    this.#upstream.answers.delete(number)
    if (heard === null) this.#problem(`Case ${number} (${one.kind}) did not come to an end`)
    else {
      if (heard.length > 0) this.#answered += 1
      for (const problem of answerProblems(one, heard)) this.#problem(`Case ${number}: ${problem}`)
    }
    if (this.problems.length === before) return
    writeFileSync(join(this.#options.directory, `case-${number}`), Buffer.concat(one.sent))
  }

  #problem(problem: string): void {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push(problem)
  }

  /** Ends it properly, and compares what the provider saw with what is recorded. */
  async finish(): Promise<FuzzReport> {
    if (this.isOver && this.problems.length < PROBLEMS_MAX) {
      this.#problem(`The sidecar fell: ${this.#child.stderr.slice(-2000)}`)
    }
    const code = await this.#child.kill('SIGTERM')
    if (code !== 0) this.#problem(`The sidecar ended with ${code}`)
    const { code: verified, stdout } = await this.#site.cli('audit', 'verify', '--strict')
    if (verified !== 0) this.#problem(`verify ended with ${verified}: ${stdout}`)
    this.#compare()
    const { bodies, problems } = this.#upstream
    return {
      problems: [...this.problems, ...problems].slice(0, PROBLEMS_MAX),
      cases: this.#cases,
      answered: this.#answered,
      forwarded: bodies.size,
    }
  }

  #compare(): void {
    const recorded = new Set<string>()
    let bodiless = 0
    for (const { kind, body } of this.#site.entries()) {
      if (kind !== 'decision' || body['forward'] !== true) continue
      const received = body['received'] as { bytes: number } | undefined
      if (received === undefined || received.bytes === 0) bodiless += 1
      else recorded.add((body['forwarded'] as { sha256: string }).sha256)
    }
    for (const sha256 of this.#upstream.bodies) {
      if (!recorded.has(sha256)) this.#problem(`A body was forwarded and not recorded: ${sha256}`)
    }
    if (this.#upstream.bodiless > bodiless) {
      this.#problem(`${this.#upstream.bodiless} calls without a body, ${bodiless} recorded`)
    }
  }

  async close(): Promise<void> {
    await this.#child.kill('SIGKILL')
    await this.#upstream.close()
  }
}

/** Says what the case says and listens until the other side closes or has answered; null: it never did. */
function converse(url: string, { sent, finally: how }: FuzzCase): Promise<Buffer | null> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const heard: Buffer[] = []
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    const late = setTimeout(() => over(false), CASE_MS_MAX)
    let silence: NodeJS.Timeout | undefined
    const over = (isEnded: boolean) => {
      clearTimeout(late)
      clearTimeout(silence)
      socket.destroy()
      resolve(isEnded ? Buffer.concat(heard) : null)
    }
    socket.on('error', () => {})
    socket.on('close', () => over(true))
    socket.on('end', () => over(true))
    socket.on('data', (chunk: Buffer) => {
      heard.push(chunk)
      // Whole answers leave the connection open; more may come for a second request.
      if (how === 'leave') return over(true)
      clearTimeout(silence)
      if (isWhole(Buffer.concat(heard))) silence = setTimeout(over, 100, true)
    })
    const speak = async () => {
      for (const piece of sent) {
        if (socket.destroyed) return
        socket.write(piece)
        await new Promise((spoken) => setImmediate(spoken))
      }
      if (how === 'end') socket.end()
      // Who leaves without having heard anything leaves soon.
      if (how === 'leave') silence = setTimeout(over, 50, true)
    }
    socket.on('connect', () => void speak())
  })
}

/** Whether the last answer is complete. */
function isWhole(bytes: Buffer): boolean {
  return bodyOf(bytes) !== null
}

/** Body of the last answer in `bytes`, null while it is not complete. */
function bodyOf(bytes: Buffer): Buffer | null {
  let rest = bytes
  for (;;) {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) return null
    const head = rest.toString('latin1', 0, end).toLowerCase()
    const found = bodyAfter(head, rest.subarray(end + 4))
    if (found === null || found.rest.length === 0) return found?.body ?? null
    rest = found.rest
  }
}

function bodyAfter(head: string, rest: Buffer): { body: Buffer; rest: Buffer } | null {
  const status = Number(head.split(' ')[1])
  if (status === 100) return rest.length === 0 ? null : { body: Buffer.alloc(0), rest }
  if (head.includes('\ntransfer-encoding: chunked')) return unchunked(rest)
  const length = Number(/\ncontent-length: (\d+)/.exec(head)?.[1] ?? 0)
  if (rest.length < length && status !== 405) return null
  return { body: rest.subarray(0, length), rest: rest.subarray(length) }
}

function unchunked(bytes: Buffer): { body: Buffer; rest: Buffer } | null {
  const chunks: Buffer[] = []
  let rest = bytes
  for (;;) {
    const end = rest.indexOf('\r\n')
    if (end === -1) return null
    const size = Number.parseInt(rest.toString('latin1', 0, end), 16)
    if (rest.length < end + 4 + size) return null
    chunks.push(rest.subarray(end + 2, end + 2 + size))
    rest = rest.subarray(end + 4 + size)
    if (size === 0) return { body: Buffer.concat(chunks), rest }
  }
}

const ERROR_FRAME = /(?:\r?\n){0,2}data: \{"error":\{/
/** Half a line, with the lines in front of it that name its event. */
const HALF_LINE = /^(?:(?:event|id|retry)[^\r\n]*(?:\r\n|\r|\n)|[\r\n])*[^\r\n]*$/

/** Nothing is Governor's own fault, and a stream that was heard to its end is what was sent. */
function answerProblems(one: FuzzCase, heard: Buffer): string[] {
  if (heard.includes('x-governor-code: INTERNAL')) return ['an internal error']
  const { kind, answer } = one
  if (kind !== 'stream' || answer === undefined || one.finally === 'leave') return []
  const body = bodyOf(heard)
  if (body === null) return [`the stream broke off: ${heard.toString('latin1').slice(-300)}`]
  const isStream = heard.subarray(0, 12).toString().endsWith(' 200')
  return isStream ? streamProblems(answer, body) : []
}

/** A stream passes byte for byte; where an error frame follows, half a line in front of it may be missing. */
function streamProblems({ pieces, ends }: Answering, body: Buffer): string[] {
  const said = Buffer.concat(pieces).toString('latin1')
  const heard = body.toString('latin1')
  if (heard === said) return []
  const frame = heard.search(ERROR_FRAME)
  if (frame === -1) return [`the stream is another: ${heard.slice(-200)}`]
  const passed = heard.slice(0, frame)
  if (!said.startsWith(passed)) return [`before the error came ${passed.slice(-200)}`]
  const missing = said.slice(passed.length)
  if (ends !== 'end' || HALF_LINE.test(missing)) return []
  return [`before the error was missing ${missing.slice(0, 200)}`]
}
