import type { Database } from 'better-sqlite3'

import { BATCH_ENTRIES_MAX } from './batch.ts'
import { epochFiles, openForReading, refuseStrangePlaces, strangeObjects } from './file.ts'
import { retentionsIn, retentionsOf } from './retention.ts'
import { chainRows, type EntryRow, everyRow, openingBody } from './rows.ts'
import { CallCheck } from './verify-calls.ts'
import {
  absentOrigins,
  type Allowed,
  ChainState,
  isAt,
  isHead,
  keyOf,
  leftoverNote,
  parseBody,
  place,
  unsignedGaps,
  upTo,
} from './verify-chain.ts'
import type { ParsedBody } from './verify-chain.ts'
import { Findings, type FoundAt } from './verify-findings.ts'
import { PersonalCheck } from './verify-personal.ts'
import { type Evidence, gatherEvidence, NO_EVIDENCE } from './verify-tree.ts'
import type { VerifyOptions, VerifyResult } from './verify-types.ts'
import type { Head } from './writer-body.ts'

export type { Finding, VerifyOptions, VerifyResult } from './verify-types.ts'

/** A checkpoint comes every 1,024 entries, and rides with the batch after them. */
const UNSIGNED_ENTRIES_MAX = 4 * BATCH_ENTRIES_MAX
/**
 * Verifies the log at `path` with all its epochs: every hash and link, no gap, every chain opened
 * and followed where it says so, every checkpoint over exactly the entries before it, consistent with
 * the one before and signed by a key that was valid then, one outcome for each forwarded call and
 * none without a decision. What `retention` says was pruned may be missing, nothing else. Reads only,
 * holds one page of rows and the open calls, and works beside a running sidecar. `strict` asks in
 * addition that the end of every chain is attested: by a signed `writer.close`, or by a later writer
 * that names it. Never throws.
 */
export function verifyLog(path: string, options: VerifyOptions): VerifyResult {
  const verification = new Verification(options.isBundle !== true)
  verification.gather(path, options)
  const files: { path: string; db: Database }[] = []
  try {
    for (const file of epochFiles(path)) {
      const db = openOrNote(file.path, verification)
      if (db !== null) files.push({ path: file.path, db })
    }
    if (files.length === 0) verification.note(path, 'There is no audit log to read')
    for (const { path: file, db } of files) {
      verification.guard(file, () => verification.readCuts(db, file))
    }
    for (const { path: file, db } of files) {
      verification.guard(file, () => verification.readFile(db, file, options.onRows))
    }
  } finally {
    for (const { db } of files) db.close()
  }
  return verification.result(
    files.map((file) => file.path),
    options.strict,
  )
}

function openOrNote(path: string, verification: Verification): Database | null {
  try {
    return openForReading(path)
  } catch (error) {
    verification.unreadable(path, (error as Error).message)
    return null
  }
}

class Verification {
  readonly #chains = new Map<string, ChainState>()
  /** By `writer:epoch` of the chain that was cut. */
  readonly #cuts = new Map<string, { readonly head: Head; readonly by: string }>()
  /** By `writer:epoch`: up to which entry the chain was pruned. */
  readonly #pruned = new Map<string, number>()
  readonly #retentions: Allowed[] = []
  readonly #personal: PersonalCheck
  #evidence: Evidence = NO_EVIDENCE
  readonly #findings = new Findings()
  readonly #calls = new CallCheck(this.#findings)
  #entries = 0
  #unacknowledged = 0

  constructor(isWhole: boolean) {
    this.#personal = new PersonalCheck(isWhole)
  }

  note(file: string, what: string, chain?: ChainState): void {
    this.#findings.note({ file, writer: chain?.writer ?? '', seq: chain?.seq ?? 0 }, what)
  }

  unreadable(file: string, why: string): void {
    this.#findings.cannotRead(file, why)
  }

  /** Collects what the log is held against. */
  gather(path: string, options: VerifyOptions): void {
    this.#evidence = gatherEvidence(path, options, (file, why) => this.unreadable(file, why))
  }

  /** Damage that SQLite itself trips over is a finding like any other. */
  guard(file: string, read: () => void): void {
    try {
      read()
    } catch (error) {
      const what = `The file is damaged: ${(error as Error).message}`
      this.#problem({ file, writer: '', seq: 0 }, what)
    }
  }

  /** Learns first where writers went on in a later file, and what was pruned: neither is missing. */
  readCuts(db: Database, file: string): void {
    const first = openingBody(db)
    const names = new Map<number, string>()
    for (const row of chainRows(db)) {
      names.set(row.id, keyOf(row.writer_id.toString('hex'), row.epoch))
      const opening = first(row.id)
      const said = opening === null ? null : parseBody(opening)
      const head = said?.continues
      if (said !== null && said.role !== row.role) {
        // Whose calls a restart closes, and whose entries may be pruned, goes by it.
        const at = { file, writer: row.writer_id.toString('hex'), seq: 1 }
        this.#problem(at, 'Its role differs from its body')
      }
      const by = keyOf(row.writer_id.toString('hex'), row.epoch)
      if (isHead(head)) this.#cuts.set(keyOf(head.writer_id, head.epoch), { head, by })
    }
    this.#personal.learn(db, (chain) => names.get(chain) ?? '')
    for (const { writer_id, epoch, to } of retentionsOf(db)) {
      const key = keyOf(writer_id, epoch)
      this.#pruned.set(key, Math.max(to, this.#pruned.get(key) ?? 0))
    }
  }

  readFile(db: Database, file: string, onRows: (rows: number) => void = () => {}): void {
    refuseStrangePlaces(db)
    for (const object of strangeObjects(db)) {
      const what = `It has a ${object}, which Governor never makes: what is read or written through it may be another thing`
      this.#problem({ file, writer: '', seq: 0 }, what)
    }
    const chains = new Map<number, ChainState | null>()
    for (const what of this.#personal.open(db)) this.#problem({ file, writer: '', seq: 0 }, what)
    this.#addChains(db, file, chains)
    let before: ChainState | null = null
    for (const row of everyRow(db)) {
      // A command may have begun a chain since.
      if (!chains.has(row.chain)) this.#addChains(db, file, chains)
      const chain = chains.get(row.chain) ?? null
      if (chain === null) this.#stranger(file, row, chains)
      else {
        this.#entry(chain, row, before)
        before = chain
      }
      onRows(1)
    }
  }

  result(files: readonly string[], strict: boolean): VerifyResult {
    const chains = [...this.#chains.values()]
    const unattested = chains.filter((chain) => !this.#isAttested(chain))
    this.#missingEpochs()
    this.#unsignedGaps()
    this.#unsignedRedactions()
    this.#tails()
    const openCalls = this.#calls.count((chain) => this.#isOver(chain), this.#pruned.size > 0)
    const absent = absentOrigins(this.#evidence.own, chains)
    for (const origin of absent) this.note('', `Published and not in this log: ${origin}`)
    if (files.length > 0 && this.#entries === 0) this.note(files.join(' '), 'It has no entries')
    const unproven = chains.filter(({ leftover }) => leftover > 0)
    for (const chain of unproven) this.note(chain.file, leftoverNote(chain), chain)
    const unchecked = chains.filter(({ tree }) => tree.unchecked > 0)
    const why = 'Its signatures were not checked: there is no key list'
    for (const chain of unchecked) this.note(chain.file, why, chain)
    const enough = this.#entries > 0 && this.#findings.unreadable === 0 && unchecked.length === 0
    const { problems, problemsTotal, notes } = this.#findings
    const holds =
      enough && (unattested.length + absent.length + unproven.length === 0 || !strict) ? 0 : 2
    return {
      exitCode: problemsTotal > 0 ? 1 : holds,
      files,
      chains: chains.length,
      entries: this.#entries,
      unacknowledged: this.#unacknowledged,
      signed: chains.reduce((sum, { tree }) => sum + tree.signedSize, 0),
      openCalls,
      problems,
      problemsTotal,
      notes,
    }
  }

  /**
   * A file is ended when a commit failed, so at most that one commit can lie behind the last
   * acknowledged entry. A later file that claims more hides entries that were acknowledged.
   */
  #tails(): void {
    for (const chain of this.#chains.values()) {
      const { unacknowledged: count, cut } = chain
      if (count === 0 || cut === null) continue
      const some = count === 1 ? 'One entry follows' : `${count} entries follow`
      const what = `${some} entry ${cut.seq}, where its next epoch says it was acknowledged last`
      if (count <= BATCH_ENTRIES_MAX) this.note(chain.file, what, chain)
      else this.#problem(place(chain), `${what}: more than the ${BATCH_ENTRIES_MAX} of one commit`)
    }
  }

  /** Whoever has not the key could otherwise allow himself what is gone. */
  #unsignedGaps(): void {
    if (this.#evidence.keys === null) return
    for (const chain of unsignedGaps(this.#retentions, this.#chains)) {
      const what = 'Entries up to here are missing, and no signed entry says they were pruned'
      this.#problem({ ...place(chain), seq: chain.skippedTo }, what)
    }
  }

  #unsignedRedactions(): void {
    const { keys } = this.#evidence
    const isSigned = (key: string, seq: number) =>
      keys === null || seq <= (this.#chains.get(key)?.tree.signedSize ?? 0)
    for (const { chain, seq } of this.#personal.unauthorised(isSigned)) {
      const what = 'Its personal values are missing, and no signed entry says that they were erased'
      this.#problem({ ...place(chain), seq }, what)
    }
    const said = this.#personal.unseenNote
    if (said !== null) this.note('', said)
  }

  #missingEpochs(): void {
    for (const [key, { head, by }] of this.#cuts) {
      if (this.#chains.has(key)) continue
      const at = { file: this.#chains.get(by)?.file ?? '', writer: head.writer_id, seq: head.seq }
      this.#problem(at, `Epoch ${head.epoch} of this writer, which it continues, is missing`)
    }
  }

  #problem(at: FoundAt, what: string): void {
    this.#findings.problem(at, what)
  }

  #addChains(db: Database, file: string, chains: Map<number, ChainState | null>): void {
    for (const row of chainRows(db)) {
      if (chains.get(row.id)) continue
      const at = { file, writer: row.writer_id.toString('hex'), seq: 0 }
      if (row.writer_id.length !== 16) {
        this.#problem(at, 'The id of this writer was altered')
        chains.set(row.id, null)
        continue
      }
      const chain = new ChainState(file, row.writer_id, row.epoch, this.#evidence)
      const key = keyOf(chain.writer, chain.epoch)
      if (this.#chains.has(key)) this.#problem(at, 'The same chain is in two files')
      chain.cut = this.#cuts.get(key)?.head ?? null
      chain.prunedTo = this.#pruned.get(key) ?? 0
      this.#chains.set(key, chain)
      chains.set(row.id, chain)
    }
  }

  #stranger(file: string, row: EntryRow, chains: Map<number, ChainState | null>): void {
    if (!chains.has(row.chain)) chains.set(row.chain, null)
    this.#problem({ file, writer: '', seq: row.seq }, `Entry ${row.id} of the file has no writer`)
  }

  #entry(chain: ChainState, row: EntryRow, before: ChainState | null): void {
    if (chain.cut !== null && row.seq > chain.cut.seq) {
      this.#unacknowledged++
      for (const problem of chain.takeUnacknowledged(row)) {
        this.#problem({ ...place(chain), seq: row.seq }, problem)
      }
      return
    }
    const body = parseBody(row.body)
    const at = { ...place(chain), seq: row.seq }
    if (row.kind === 'writer.open' && body !== null) this.#opening(chain, body, before)
    for (const problem of chain.take(row, body)) this.#problem(at, problem)
    for (const problem of body === null ? [] : this.#personal.entry(chain, row, body)) {
      this.#problem(at, problem)
    }
    this.#entries++
    if (row.kind === 'retention') {
      this.#retentions.push({ chain, seq: row.seq, pruned: retentionsIn(row.body) })
    }
    this.#calls.take(chain, row, this.#pruned.size > 0)
  }

  /** What a new writer says about those before it pins their ends. */
  #opening(chain: ChainState, body: ParsedBody, before: ChainState | null): void {
    const at = { ...place(chain), seq: 1 }
    const { previous, recovers } = body
    // An entry that is gone by right says nothing of where another chain stood.
    const isGone = isHead(previous) && this.#isPruned(previous)
    const isThere = isHead(previous) ? isAt(before, previous) : before === null
    if (!isGone && !isThere) {
      const what =
        'Entries between it and the one it names as the last before it are missing or new'
      this.#problem(at, what)
    } else if (before !== null && !isGone) before.attested = true
    for (const head of Array.isArray(recovers) ? recovers : []) this.#recovery(at, head)
  }

  #recovery(at: FoundAt, head: unknown): void {
    const left = isHead(head) ? this.#chains.get(keyOf(head.writer_id, head.epoch)) : undefined
    if (!isHead(head) || left === undefined || !left.standsAt(head)) {
      this.#problem(at, 'It names the end of a chain that does not end there')
      return
    }
    left.attested = true
    left.recovered = true
  }

  #isPruned(head: Head): boolean {
    return head.seq <= (this.#pruned.get(keyOf(head.writer_id, head.epoch)) ?? 0)
  }

  #isAttested(chain: ChainState): boolean {
    if (chain.seq === 0) {
      this.#problem(place(chain), 'All entries of this writer are missing')
      return true
    }
    for (const what of chain.tree.end()) this.#problem(place(chain), what)
    if (chain.cut !== null) {
      if (chain.standsAt(chain.cut)) return true
      const what = `It does not end at entry ${chain.cut.seq}, where its next epoch says`
      this.#problem(place(chain), what)
      return true
    }
    const isSigned = this.#isSigned(chain)
    if (chain.attested || (chain.closed && isSigned)) return true
    this.note(chain.file, `end not attested${upTo(chain)}`, chain)
    return false
  }

  /** False where signatures are not to be expected: there are no keys, or there were none then. */
  #isSigned(chain: ChainState): boolean {
    const { keys } = this.#evidence
    if (keys === null || keys.length === 0) return true
    const { signedSize } = chain.tree
    const firstMs = Math.min(...keys.map(({ fromMs }) => fromMs))
    if (signedSize === 0 && chain.openedAtUs < firstMs * 1000) return false
    if (chain.tree.broken) return true
    if (chain.closed && !chain.isCloseSigned) {
      this.#problem(
        place(chain),
        'It is closed, and no checkpoint with a good signature covers that',
      )
    } else if (chain.seq - signedSize > UNSIGNED_ENTRIES_MAX) {
      const what = `No checkpoint with a good signature after entry ${signedSize}, where there must be`
      this.#problem(place(chain), what)
    }
    return true
  }

  /** Whether nobody is left who could still report how this chain's calls ended. */
  #isOver(chain: ChainState): boolean {
    const next = this.#cuts.get(keyOf(chain.writer, chain.epoch))?.by
    const follower = next === undefined ? undefined : this.#chains.get(next)
    if (follower !== undefined && follower.epoch > chain.epoch) return this.#isOver(follower)
    return chain.closed || chain.recovered
  }
}
