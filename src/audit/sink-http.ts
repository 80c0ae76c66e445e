import Database from 'better-sqlite3'

import { type Agent, request } from '../lean-http.ts'
import type { Patience } from '../patience.ts'
import { directAgent } from './direct-agent.ts'
import { shippingPatience } from './ship-backoff.ts'
import type { ChainHead, ChainId, ShipBatch, ShipRow, Sink, Taken } from './ship-types.ts'

/** A collector that takes JSON lines. */
export interface HttpSinkOptions {
  readonly url: string
  readonly credential: string | null
}

const ANSWER_BYTES_MAX = 64 * 1024

interface HeadRow {
  readonly seq: number
  readonly hash: Buffer
}

/**
 * Posts batches as JSON lines, `{"writer","epoch","seq","hash","entry"}`, with an `idempotency-key`
 * that names what is in them; any 2xx says that they are kept. A collector does not say where a chain
 * stands, so that is remembered beside the log, after the answer: a crash in between sends a batch
 * again.
 */
export class HttpSink implements Sink {
  readonly #options: HttpSinkOptions
  readonly #state: Database.Database
  readonly #patience: Patience
  readonly #agent: Agent

  /** Opens `<path>.shipped`; `patience`: how long an answer may take. Throws SQLite's error. */
  constructor(options: HttpSinkOptions, path: string, patience = shippingPatience()) {
    this.#options = options
    this.#patience = patience
    this.#agent = directAgent()
    this.#state = new Database(`${path}.shipped`, { timeout: 1_000 })
    this.#state.pragma('journal_mode = WAL')
    this.#state.exec(`
      CREATE TABLE IF NOT EXISTS heads (
        url TEXT NOT NULL,
        writer_id BLOB NOT NULL,
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (url, writer_id, epoch)
      ) STRICT, WITHOUT ROWID`)
  }

  /** There is nothing to look at: only a batch tells whether it is taken. */
  check(): Promise<void> {
    return Promise.resolve()
  }

  heads(chains: readonly ChainId[]): Promise<(ChainHead | null)[]> {
    return Promise.resolve(chains.map((chain) => this.#head(chain)))
  }

  async put(batch: ShipBatch): Promise<Taken> {
    const { chain, after, rows } = batch
    const head = this.#head(chain)
    if ((head?.seq ?? 0) !== after.seq || (head !== null && !head.hash.equals(after.hash))) {
      return { kind: 'elsewhere', head }
    }
    await this.#post(batch)
    const { seq, hash } = rows.at(-1)!
    this.#state
      .prepare(
        'INSERT OR REPLACE INTO heads (url, writer_id, epoch, seq, hash) VALUES (?, ?, ?, ?, ?)',
      )
      .run(this.#options.url, chain.writerId, chain.epoch, seq, hash)
    return { kind: 'taken', dead: 0 }
  }

  async close(): Promise<void> {
    this.#state.close()
    await this.#agent.destroy()
  }

  #head({ writerId, epoch }: ChainId): ChainHead | null {
    const row = this.#state
      .prepare<[string, Buffer, number], HeadRow>(
        'SELECT seq, hash FROM heads WHERE url = ? AND writer_id = ? AND epoch = ?',
      )
      .get(this.#options.url, writerId, epoch)
    return row ?? null
  }

  async #post({ chain, rows }: ShipBatch): Promise<void> {
    await this.#patience.learn((withinMs) => this.#send({ chain, rows }, withinMs))
    this.#patience.shorter()
  }

  async #send({ chain, rows }: Pick<ShipBatch, 'chain' | 'rows'>, withinMs: number): Promise<void> {
    const { url, credential } = this.#options
    const writer = chain.writerId.toString('hex')
    const place = `${writer}-${chain.epoch}-${rows[0]?.seq}-${rows.at(-1)?.seq}`
    const { statusCode, body } = await request(url, {
      dispatcher: this.#agent,
      method: 'POST',
      headers: {
        'content-type': 'application/x-ndjson',
        'idempotency-key': place,
        ...(credential === null ? {} : { authorization: `Bearer ${credential}` }),
      },
      body: rows.map((row) => lineOf(writer, chain.epoch, row)).join(''),
      headersTimeout: withinMs,
      bodyTimeout: withinMs,
    })
    await body.dump({ limit: ANSWER_BYTES_MAX })
    if (statusCode < 200 || statusCode > 299)
      throw new Error(`The collector answered ${statusCode}`)
  }
}

/** A body that is no JSON object is sent as the text it is. */
function lineOf(writer: string, epoch: number, { seq, hash, body }: ShipRow): string {
  const text = body.toString()
  const entry = isOneLineOfJson(text) ? text : JSON.stringify(text)
  return `{"writer":"${writer}","epoch":${epoch},"seq":${seq},"hash":"${hash.toString('hex')}","entry":${entry}}\n`
}

function isOneLineOfJson(text: string): boolean {
  if (/[\r\n]/.test(text)) return false
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null
  } catch {
    return false
  }
}
