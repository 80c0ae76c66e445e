import type { RemoteRow } from './postgres-rows.ts'
import { type Retention, retentionsIn } from './retention.ts'
import { readRow } from './sink-rows.ts'
import type { RowColumns } from './sink-rows.ts'
import {
  absentOrigins,
  type Allowed,
  ChainState,
  isHead,
  keyOf,
  leftoverNote,
  parseBody,
  unsignedGaps,
} from './verify-chain.ts'
import { Findings } from './verify-findings.ts'
import { gatherEvidence } from './verify-tree.ts'
import type { Evidence } from './verify-tree.ts'
import type { VerifyOptions, VerifyResult } from './verify-types.ts'
import type { Head } from './writer-body.ts'

/** Entries of all writers, chain by chain, away from the files they were written to. */
export interface RemoteSource {
  /** Names it in findings. */
  readonly name: string
  /** Every entry, in the order of writers, epochs and places. */
  readonly rows: () => AsyncIterable<RemoteRow>
  /** What entries `retention` say was removed. */
  readonly retentions: () => Promise<readonly Retention[]>
  /** Where each chain ends, as whoever put the entries there noted. */
  readonly heads: () => Promise<readonly Head[]>
  /** Hashes (hex) of those of these entries that are there, by `headKey`. */
  readonly hashes: (heads: readonly Head[]) => Promise<ReadonlyMap<string, string>>
}

/** Names an entry in `hashes`. */
export function headKey({ writer_id, epoch, seq }: Omit<Head, 'hash'>): string {
  return `${writer_id}:${epoch}:${seq}`
}

/** An entry that another one names, and what has to hold of it. */
interface Named {
  readonly by: ChainState
  readonly head: Head
  readonly how: 'previous' | 'continues' | 'recovers'
}

/**
 * Verifies the entries of a source: every hash and link, no gap but what `retention` says was pruned before
 * it came there, each chain up to where its head says, signatures where `keys` are given, everything a
 * published root covers, one outcome for each forwarded call, and that whatever an entry says of another
 * chain is so there. A chain that goes on after another writer closed it was copied. Holds one page of
 * rows, the ends of chains and the open calls. Rejects with the source's error.
 */
export async function verifySource(
  source: RemoteSource,
  options: VerifyOptions,
): Promise<VerifyResult> {
  const verification = new RemoteVerification(source.name, options)
  verification.learn(await source.retentions())
  for await (const row of source.rows()) {
    verification.take(row)
    options.onRows?.(1)
  }
  verification.heads(await source.heads())
  verification.named(await source.hashes(verification.namedHeads))
  return verification.result(options.strict)
}

class RemoteVerification {
  readonly #place: string
  readonly #evidence: Evidence
  readonly #chains = new Map<string, ChainState>()
  readonly #named: Named[] = []
  /** Calls of which a decision or an outcome has been seen, and the other not yet. */
  readonly #decided = new Map<string, { readonly chain: ChainState; readonly seq: number }>()
  readonly #ended = new Map<string, { readonly chain: ChainState; readonly seq: number }>()
  readonly #findings = new Findings()
  /** By chain: up to which entry it was pruned. */
  readonly #pruned = new Map<string, number>()
  readonly #retentions: Allowed[] = []
  #entries = 0

  constructor(place: string, options: VerifyOptions) {
    this.#place = place
    const note = (file: string, why: string) => this.#findings.cannotRead(file, why)
    // Each pod has keys of its own, so there is no list beside it that would go without saying.
    this.#evidence = gatherEvidence(null, options, note)
  }

  /** What was pruned before it came here is not missing. */
  learn(retentions: readonly Retention[]): void {
    for (const { writer_id, epoch, to } of retentions) {
      const key = keyOf(writer_id, epoch)
      this.#pruned.set(key, Math.max(to, this.#pruned.get(key) ?? 0))
    }
  }

  /** Entries that others name. */
  get namedHeads(): readonly Head[] {
    return this.#named.map(({ head }) => head)
  }

  take(row: RemoteRow): void {
    const chain = this.#chainOf(row)
    if (chain === null) return
    const body = parseBody(row.body)
    for (const what of chain.take(row, body)) this.#problem(chain, row.seq, what)
    const column = alteredColumn(row)
    if (column !== null) this.#problem(chain, row.seq, `Its ${column} differs from its body`)
    this.#entries++
    if (row.kind === 'retention') {
      this.#retentions.push({ chain, seq: row.seq, pruned: retentionsIn(row.body) })
    }
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
  heads(heads: readonly Head[]): void {
    for (const head of heads) {
      const { writer_id: writer, epoch, seq } = head
      const chain = this.#chains.get(keyOf(writer, epoch))
      if (chain === undefined) {
        this.#problem({ writer }, 0, `All ${seq} entries of this writer are missing`)
      } else if (chain.standsAt(head)) chain.attested = true
      else this.#problem(chain, chain.seq, `It ends here, and entry ${seq} was shipped last`)
    }
  }

  /** Holds what entries say of other chains against those; `hashes` are of `namedHeads`. */
  named(hashes: ReadonlyMap<string, string>): void {
    for (const { by, head, how } of this.#named) {
      const key = keyOf(head.writer_id, head.epoch)
      const chain = this.#chains.get(key)
      const hash = hashes.get(headKey(head))
      if (chain === undefined || chain.seq < head.seq) {
        this.#note(by, `Entry ${head.seq} of ${head.writer_id}, which it names, is not shipped`)
      } else if (hash === undefined && head.seq <= (this.#pruned.get(key) ?? 0)) continue
      else if (hash !== head.hash) {
        const what = `It names entry ${head.seq} of ${head.writer_id}, which is another one`
        this.#problem(by, 1, what)
      } else if (how !== 'previous') this.#over(chain, head, how)
    }
  }

  result(strict: boolean): VerifyResult {
    const chains = [...this.#chains.values()]
    for (const chain of chains) {
      for (const what of chain.tree.end()) this.#problem(chain, chain.seq, what)
      if (!chain.attested) this.#problem(chain, chain.seq, 'Nothing says where its end is')
    }
    this.#absent(chains)
    this.#unsignedGaps()
    const unproven = chains.filter(({ leftover }) => leftover > 0)
    for (const chain of unproven) this.#note(chain, leftoverNote(chain))
    const unchecked = chains.filter(({ tree }) => tree.unchecked > 0)
    if (unchecked.length > 0) {
      const chainsText = unchecked.length === 1 ? 'one chain' : `${unchecked.length} chains`
      const what = `Signatures of ${chainsText} were not checked: give --keys`
      this.#findings.note({ file: this.#place, writer: '', seq: 0 }, what)
    }
    const openCalls = this.#countCalls()
    const enough = this.#entries > 0 && this.#findings.unreadable === 0
    const { problems, problemsTotal, notes } = this.#findings
    const holds = enough && (unchecked.length + unproven.length === 0 || !strict) ? 0 : 2
    return {
      exitCode: problemsTotal > 0 ? 1 : holds,
      files: [this.#place],
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

  /** Whoever published a root has seen these chains: there is no other place they could be. */
  #absent(chains: readonly ChainState[]): void {
    const { root, own } = this.#evidence
    for (const origin of absentOrigins(root?.leaves.keys() ?? [], chains)) {
      const [writer = ''] = origin.split('/').slice(2)
      const size = root?.leaves.get(origin)?.size ?? 0
      const what = `All its entries are missing, of which the published root covers ${size}`
      this.#problem({ writer }, 0, what)
    }
    for (const origin of absentOrigins(own, chains)) {
      this.#findings.note(
        { file: this.#place, writer: '', seq: 0 },
        `Published, not here: ${origin}`,
      )
    }
  }

  #unsignedGaps(): void {
    if (this.#evidence.keys === null) return
    for (const chain of unsignedGaps(this.#retentions, this.#chains)) {
      const what = 'Entries up to here are missing, and no signed entry says they were pruned'
      this.#problem(chain, chain.skippedTo, what)
    }
  }

  #chainOf({ writerId, epoch }: RemoteRow): ChainState | null {
    if (writerId.length !== 16 || epoch < 0) {
      this.#problem({ writer: '' }, 0, 'A writer id or an epoch was altered')
      return null
    }
    const name = keyOf(writerId.toString('hex'), epoch)
    let chain = this.#chains.get(name)
    if (chain === undefined) {
      chain = new ChainState(this.#place, writerId, epoch, this.#evidence)
      chain.prunedTo = this.#pruned.get(name) ?? 0
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
      // Its decision may have been pruned; that nothing else is gone is what the links say.
      if (this.#pruned.size === 0) this.#ended.set(row.request_id, place)
    }
  }

  #countCalls(): number {
    for (const { chain, seq } of this.#ended.values()) {
      this.#problem(chain, seq, 'An outcome without a decision, or a second one for its call')
    }
    let open = 0
    for (const { chain, seq } of this.#decided.values()) {
      if (!chain.closed && !chain.recovered) open++
      else if (this.#pruned.size > 0) continue
      else this.#problem(chain, seq, 'The outcome of this call is missing')
    }
    return open
  }

  #note(chain: ChainState, what: string): void {
    this.#findings.note({ file: this.#place, writer: chain.writer, seq: 1 }, what)
  }

  #problem({ writer }: Pick<ChainState, 'writer'>, seq: number, what: string): void {
    this.#findings.problem({ file: this.#place, writer, seq }, what)
  }
}

/** The first column that says something else than the body it repeats; null when none does. */
function alteredColumn({ columns, request_id, ...row }: RemoteRow): string | null {
  if (columns === null) return null
  const said = readRow({ ...row, requestId: request_id }).columns
  const names = Object.keys(columns) as (keyof RowColumns)[]
  return names.find((name) => columns[name] !== (said?.[name] ?? null)) ?? null
}
