import type { PoolClient } from 'pg'

import { everyEntry } from './postgres-rows.ts'
import type { RemoteRow } from './postgres-rows.ts'
import { checkSchema, closePool, openPool } from './postgres.ts'
import { readRow } from './sink-rows.ts'
import type { RowColumns } from './sink-rows.ts'
import { ChainState, isHead, parseBody } from './verify-chain.ts'
import { Findings } from './verify-findings.ts'
import { gatherEvidence, NO_EVIDENCE } from './verify-tree.ts'
import type { Evidence } from './verify-tree.ts'
import type { VerifyOptions, VerifyResult } from './verify-types.ts'
import type { Head } from './writer-body.ts'

const STATEMENT_MS = 60_000
const PLACE = 'postgres'

/** An entry that another one names, and what has to hold of it. */
interface Named {
  readonly by: ChainState
  readonly head: Head
  readonly how: 'previous' | 'continues' | 'recovers'
}

/**
 * Verifies what PostgreSQL holds, of all writers, in one moment of it: every hash and link, no gap,
 * each chain up to where its head says, signatures where `keys` are given, one outcome for each
 * forwarded call, and that whatever an entry says of another chain is so there. A chain that goes on
 * after another writer closed it was copied. What was pruned before it was shipped counts as missing.
 * Holds one page of rows, the ends of chains and the open calls. Rejects with the server's error.
 */
export async function verifyPostgres(url: string, options: VerifyOptions): Promise<VerifyResult> {
  const pool = openPool(url, STATEMENT_MS)
  try {
    await checkSchema(pool)
    const client = await pool.connect()
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      const verification = new RemoteVerification(options)
      for await (const row of everyEntry(client)) verification.take(row)
      await verification.heads(client)
      await verification.named(client)
      await client.query('COMMIT')
      return verification.result(options.strict)
    } finally {
      client.release(true)
    }
  } finally {
    await closePool(pool)
  }
}

class RemoteVerification {
  readonly #evidence: Evidence
  readonly #chains = new Map<string, ChainState>()
  readonly #named: Named[] = []
  /** Calls of which a decision or an outcome has been seen, and the other not yet. */
  readonly #decided = new Map<string, { readonly chain: ChainState; readonly seq: number }>()
  readonly #ended = new Map<string, { readonly chain: ChainState; readonly seq: number }>()
  readonly #findings = new Findings()
  #entries = 0

  constructor(options: VerifyOptions) {
    const note = (file: string, why: string) => this.#findings.cannotRead(file, why)
    // Each pod has keys of its own, so there is no list that would go without saying.
    this.#evidence = options.keys ? gatherEvidence('', options, note) : NO_EVIDENCE
  }

  take(row: RemoteRow): void {
    const chain = this.#chainOf(row)
    if (chain === null) return
    const body = parseBody(row.body)
    for (const what of chain.take(row, body)) this.#problem(chain, row.seq, what)
    const column = alteredColumn(row)
    if (column !== null) this.#problem(chain, row.seq, `Its ${column} differs from its body`)
    this.#entries++
    if (row.seq === 1 && body !== null) {
      const { previous, continues, recovers } = body
      if (isHead(previous)) this.#named.push({ by: chain, head: previous, how: 'previous' })
      if (isHead(continues)) this.#named.push({ by: chain, head: continues, how: 'continues' })
      for (const head of Array.isArray(recovers) ? recovers : []) {
        if (isHead(head)) this.#named.push({ by: chain, head, how: 'recovers' })
      }
    }
    this.#call(chain, row)
  }

  /** Holds the ends of chains against what shipping noted of them. */
  async heads(client: PoolClient): Promise<void> {
    const { rows } = await client.query<{
      writer_id: Buffer
      epoch: number
      last_seq: string
      last_hash: Buffer
    }>('SELECT writer_id, epoch, last_seq, last_hash FROM governor.writers')
    for (const { writer_id, epoch, last_seq, last_hash } of rows) {
      const writer = writer_id.toString('hex')
      const chain = this.#chains.get(`${writer}:${epoch}`)
      const seq = Number(last_seq)
      if (chain === undefined) {
        this.#problem({ writer }, 0, `All ${seq} entries of this writer are missing`)
      } else if (
        chain.standsAt({ writer_id: writer, epoch, seq, hash: last_hash.toString('hex') })
      ) {
        chain.attested = true
      } else this.#problem(chain, chain.seq, `It ends here, and entry ${seq} was shipped last`)
    }
  }

  /** Holds what entries say of other chains against those. */
  async named(client: PoolClient): Promise<void> {
    for (const { by, head, how } of this.#named) {
      const chain = this.#chains.get(`${head.writer_id}:${head.epoch}`)
      if (chain === undefined || chain.seq < head.seq) {
        this.#note(by, `Entry ${head.seq} of ${head.writer_id}, which it names, is not shipped`)
        continue
      }
      const { rows } = await client.query<{ hash: Buffer }>(
        `SELECT hash FROM governor.entries WHERE writer_id = $1 AND epoch = $2 AND seq = $3
         UNION ALL
         SELECT hash FROM governor.dead_letters WHERE writer_id = $1 AND epoch = $2 AND seq = $3`,
        [Buffer.from(head.writer_id, 'hex'), head.epoch, head.seq],
      )
      if (rows[0]?.hash.toString('hex') !== head.hash) {
        this.#problem(
          by,
          1,
          `It names entry ${head.seq} of ${head.writer_id}, which is another one`,
        )
      } else if (how !== 'previous') this.#over(chain, head, how)
    }
  }

  result(strict: boolean): VerifyResult {
    const chains = [...this.#chains.values()]
    for (const chain of chains) {
      for (const what of chain.tree.end()) this.#problem(chain, chain.seq, what)
      if (!chain.attested) this.#problem(chain, chain.seq, 'Nothing says where its end is')
    }
    const unchecked = chains.filter(({ tree }) => tree.unchecked > 0)
    if (unchecked.length > 0) {
      const what = `Signatures of ${unchecked.length} chains were not checked: give --keys`
      this.#findings.note({ file: PLACE, writer: '', seq: 0 }, what)
    }
    const openCalls = this.#countCalls()
    const enough = this.#entries > 0 && this.#findings.unreadable === 0
    const { problems, problemsTotal, notes } = this.#findings
    const holds = enough && (unchecked.length === 0 || !strict) ? 0 : 2
    return {
      exitCode: problemsTotal > 0 ? 1 : holds,
      files: [PLACE],
      chains: chains.length,
      entries: this.#entries,
      unacknowledged: 0,
      openCalls,
      signed: chains.reduce((sum, { tree }) => sum + tree.signedSize, 0),
      problems,
      problemsTotal,
      notes,
    }
  }

  #chainOf({ writerId, epoch }: RemoteRow): ChainState | null {
    if (writerId.length !== 16 || epoch < 0) {
      this.#problem({ writer: '' }, 0, 'A writer id or an epoch was altered')
      return null
    }
    const name = `${writerId.toString('hex')}:${epoch}`
    let chain = this.#chains.get(name)
    if (chain === undefined) {
      chain = new ChainState(PLACE, writerId, epoch, this.#evidence)
      this.#chains.set(name, chain)
    }
    return chain
  }

  /** A chain that another one took over has to end there. */
  #over(chain: ChainState, head: Head, how: 'continues' | 'recovers'): void {
    if (how === 'recovers') chain.recovered = true
    else chain.closed = true
    if (chain.standsAt(head)) return
    const by = how === 'recovers' ? 'another writer closed its calls' : 'its next epoch begins'
    this.#problem(
      chain,
      chain.seq,
      `It goes on after entry ${head.seq}, where ${by}: it was copied`,
    )
  }

  /** Chains come in no order of time, so an outcome may come before its decision. */
  #call(chain: ChainState, row: RemoteRow): void {
    const place = { chain, seq: row.seq }
    if (row.awaits === 1) {
      if (!this.#ended.delete(row.request_id)) this.#decided.set(row.request_id, place)
    } else if (row.kind === 'outcome' && !this.#decided.delete(row.request_id)) {
      this.#ended.set(row.request_id, place)
    }
  }

  #countCalls(): number {
    for (const { chain, seq } of this.#ended.values()) {
      this.#problem(chain, seq, 'An outcome without a decision, or a second one for its call')
    }
    let open = 0
    for (const { chain, seq } of this.#decided.values()) {
      if (!chain.closed && !chain.recovered) open++
      else this.#problem(chain, seq, 'The outcome of this call is missing')
    }
    return open
  }

  #note(chain: ChainState, what: string): void {
    this.#findings.note({ file: PLACE, writer: chain.writer, seq: 1 }, what)
  }

  #problem({ writer }: Pick<ChainState, 'writer'>, seq: number, what: string): void {
    this.#findings.problem({ file: PLACE, writer, seq }, what)
  }
}

/** The first column that says something else than the body it repeats; null when none does. */
function alteredColumn({ columns, request_id, ...row }: RemoteRow): string | null {
  if (columns === null) return null
  const said = readRow({ ...row, requestId: request_id }).columns
  const names = Object.keys(columns) as (keyof RowColumns)[]
  return names.find((name) => columns[name] !== (said?.[name] ?? null)) ?? null
}
