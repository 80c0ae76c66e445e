import { every, monotonicMs, wallMs } from '../clock.ts'
import type { ShipConfig, Snapshot } from '../config/snapshot.ts'
import type { ErrorCode } from '../errors.ts'
import type { Trail } from '../exchange.ts'
import type { Log } from '../log.ts'
import type { Metrics, PoolState } from '../metrics.ts'
import { type AdminAct, adminActBody, AdminFold } from './admin-entry.ts'
import type { TextEntry } from './batch.ts'
import { type Charge, Charges } from './charges.ts'
import { countCall } from './count.ts'
import {
  decisionBody,
  type DecisionContext,
  type LoadedSnapshot,
  outcomeBody,
  policyLoadBody,
} from './entry.ts'
import { ExceptionFold } from './exception-fold.ts'
import { Fold, type FoldedEntry } from './fold.ts'
import { Kept } from './kept.ts'
import { SOFT_SHARE } from './make-room.ts'
import { commitPersonal, type Committed, subjectOf, withCommitments } from './personal.ts'
import { Publisher } from './publish.ts'
import { scanCalls } from './query.ts'
import { Shipping } from './ship.ts'
import { Unrecorded } from './unrecorded.ts'
import { unavailable } from './wal-types.ts'
import { Wal } from './wal.ts'
import { lostOutcomeBody } from './writer-body.ts'

/** What the log is opened with; of the snapshot, its `audit` and `timeouts`. */
export interface RecorderOptions {
  readonly snapshot: Snapshot
  readonly metrics: Metrics
  readonly log: Log
  readonly version: string
}

interface Opened {
  readonly wal: Wal
  readonly publisher: Publisher
  readonly shipping: Shipping | null
  readonly options: RecorderOptions
}

/** With what `Fold` waits itself, folded refusals reach the log within a second. */
const FOLD_MS = 200
/** Below this part of `audit.local_max` the log is not nearly full any more. */
const WELL_SHARE = 0.7

/**
 * What the pipeline knows of the audit: a decision before a call is forwarded or refused, an outcome
 * after it, and the counters that belong to both. One per process.
 */
export class Recorder {
  readonly #wal: Wal
  readonly #publisher: Publisher
  readonly #fold = new Fold()
  readonly #exceptions = new ExceptionFold()
  readonly #acts = new AdminFold()
  readonly #metrics: Metrics
  readonly #localBytesMax: number
  readonly #shipping: Shipping | null
  /** Whether a decision counts only once it was shipped, and how long that may take; 0 is no. */
  readonly #shippedWithinMs: number
  readonly #unrecorded: Unrecorded
  readonly #stopFolding: () => void
  /** Of the snapshots that the log was told of last; calls under way may have begun with another. */
  readonly #digests = { live: '', candidate: '' }
  #lostSeen = 0
  #isNearlyFull = false

  private constructor({ wal, publisher, shipping, options }: Opened) {
    const { audit, timeouts } = options.snapshot
    this.#wal = wal
    this.#publisher = publisher
    this.#shipping = shipping
    this.#shippedWithinMs = audit.ack === 'postgres' ? timeouts.commitMs : 0
    this.#metrics = options.metrics
    this.#localBytesMax = audit.localBytesMax
    this.#unrecorded = new Unrecorded(wal, options.log)
    this.#stopFolding = every(FOLD_MS, () => {
      const nowMs = wallMs()
      this.#queueFolded(this.#fold.due(nowMs))
      this.#queueFolded(this.#exceptions.due(nowMs))
      this.#queueFolded(this.#acts.due(nowMs))
      this.#unrecorded.tell(this.healthy && !this.full)
      this.#watchSize(options.log)
    })
  }

  /** Opens the log for this sidecar alone; rejects with what `Wal.open` says. */
  static async open(options: RecorderOptions): Promise<Recorder> {
    const { snapshot, metrics, log, version } = options
    const { path, localBytesMax, ship, ack } = snapshot.audit
    let shipping: Shipping | null = null
    const publisher = new Publisher(snapshot.audit.checkpoints, log)
    const wal = await Wal.open({
      path,
      localBytesMax,
      commitMs: snapshot.timeouts.commitMs,
      version,
      exclusive: true,
      signs: true,
      onCheckpoint: (note) => publisher.publish(note),
      onCommit: (durationMs) => {
        metrics.commitSeconds.observe(durationMs / 1000)
        if (ack === 'postgres') shipping?.wake()
      },
      onDeath: (error) =>
        log.fatal({ err: error }, 'The audit thread died; nothing can be recorded any more'),
    })
    if (ship !== null) {
      const { writerId } = wal
      const more = { localBytesMax, version, metrics, log }
      shipping = Shipping.start({ path, sink: ship, writerId, ...more })
    }
    return new Recorder({ wal, publisher, shipping, options })
  }

  /** Of shipping to PostgreSQL; undefined where nothing is shipped there. */
  get connections(): PoolState | undefined {
    return this.#shipping?.connections
  }

  /** False while decisions cannot be made durable. */
  get healthy(): boolean {
    return this.#wal.healthy
  }

  /** Whether the log has reached `audit.local_max`, so that no call can be recorded. */
  get full(): boolean {
    return this.#wal.stats.fileBytes >= this.#localBytesMax
  }

  /** Whether calls are refused because `audit.ack` waits for a PostgreSQL that takes nothing. */
  get unacknowledged(): boolean {
    return this.#shippedWithinMs > 0 && this.#shipping?.state.takes !== true
  }

  /** Calls a former process left open, closed as `interrupted` when the log was opened. */
  get recovered(): number {
    return this.#wal.stats.recovered
  }

  /**
   * Tells which limits former calls were charged to since `sinceMs`, oldest first, so that long
   * windows survive a restart. What cannot be read is verify's business and skipped here; the result
   * says how many entries and files that were.
   */
  static charges(
    path: string,
    sinceMs: number,
    onCharge: (charge: Charge) => void,
  ): { readonly damagedEntries: number; readonly unreadableFiles: readonly string[] } {
    const charges = new Charges(onCharge)
    const unreadableFiles = scanCalls(path, sinceMs * 1000, (entry) => charges.read(entry))
    charges.end()
    return { damagedEntries: charges.damagedEntries, unreadableFiles }
  }

  /** Entries from now on are decided by this snapshot; the log says so first. */
  use(loaded: LoadedSnapshot): void {
    const { digest, role = 'live' } = loaded
    if (digest === this.#digests[role]) return
    this.#digests[role] = digest
    const nowMs = wallMs()
    this.#wal.queue({
      kind: 'policy.load',
      requestId: '',
      occurredAtUs: nowMs * 1000,
      body: policyLoadBody(loaded, nowMs),
      awaitsOutcome: false,
    })
  }

  /**
   * Resolves when the decision is on the disk. Where it cannot be, rejects with AUDIT_UNAVAILABLE when it is
   * `required`, and else resolves all the same: `trail.unrecorded` and the counters say so.
   */
  async record(trail: Trail, required = true): Promise<void> {
    const { refusal, principal } = trail
    trail.decisionQueued = true
    const why = this.#unrecordable(required)
    if (why !== null) throw unavailable(why)
    if (refusal !== null) {
      const how = this.#fold.refusal(principal?.keyId ?? '', refusal.code, wallMs())
      if (how === 'folded') return
    }
    const forward = refusal === null && trail.checked === null
    const entry = decisionEntry(trail, forward)
    if (required) await this.#wal.record(entry)
    else if (!(await this.#unrecorded.record(trail, entry))) return
    if (this.#shippedWithinMs > 0) await this.#shipped(trail, forward)
    trail.recorded = true
  }

  /** Why no call gets another answer now, not even one that would only be counted; null while they do. */
  #unrecordable(required: boolean): string | null {
    if (this.unacknowledged) return 'PostgreSQL does not take entries (audit.ack)'
    return required ? this.#wal.refuses : null
  }

  /** With `ack: postgres`: waits until the entry is there too. Rejects with AUDIT_UNAVAILABLE. */
  async #shipped({ requestId }: Trail, forward: boolean): Promise<void> {
    const withinMs = this.#shippedWithinMs
    if (await this.#shipping?.arrived(this.#wal.place, withinMs)) return
    if (forward) {
      const occurredAtUs = wallMs() * 1000
      const body = lostOutcomeBody(requestId, occurredAtUs, 'not_forwarded')
      this.#wal.queue({ kind: 'outcome', requestId, occurredAtUs, body, awaitsOutcome: false })
    }
    throw unavailable(`PostgreSQL took longer than ${withinMs} ms (audit.ack)`)
  }

  /** Ships to where this says from now on, with its password; what ships nowhere goes on so. */
  shipTo(sink: ShipConfig | null): void {
    if (sink !== null) this.#shipping?.use(sink)
  }

  /** A request that ended before anybody knew who made it. */
  unauthenticated(code: ErrorCode, peer: string | undefined): void {
    this.#fold.unauthenticated(code, peer ?? '', wallMs())
    this.#metrics.requests.inc({ operation: 'none', code })
  }

  /**
   * Resolves when an act of the admin API is on the disk: before it is done. Rejects with
   * AUDIT_UNAVAILABLE; then it must not be done.
   */
  async recordAct(act: AdminAct): Promise<void> {
    await this.#wal.record(entryOf(act, wallMs()))
  }

  /** Queues an act that changes nothing, or a refusal; many alike are told together. Never throws. */
  noteAct(act: AdminAct): void {
    const nowMs = wallMs()
    if (this.#acts.act(act, nowMs) === 'record') this.#wal.queue(entryOf(act, nowMs))
  }

  /** Queues the outcome of a call that was let through, and counts. Never throws. */
  settle(trail: Trail, peer: string | undefined): void {
    if (trail.principal === null) {
      if (trail.refusal !== null) this.unauthenticated(trail.refusal.code, peer)
      return
    }
    const nowMs = monotonicMs()
    const wasDecided = trail.recorded || trail.unrecorded
    const letThrough = wasDecided && trail.lease !== null && trail.checked === null
    if (letThrough) {
      if (trail.ending === 'refused') trail.ending = endingOf(trail)
      const endedAtMs = wallMs()
      const used = trail.decision?.exceptions
      if (used !== undefined) this.#exceptions.used(trail, used, endedAtMs)
      const entry = outcomeEntry(trail, endedAtMs, nowMs)
      if (trail.recorded) this.#wal.queue(entry)
      else this.#unrecorded.outcome(trail, entry)
    }
    countCall(this.#metrics, trail, nowMs)
  }

  /** Says once that the log is nearly full, and again when it was not for a while. */
  #watchSize(log: Log): void {
    const { fileBytes } = this.#wal.stats
    const localBytesMax = this.#localBytesMax
    if (fileBytes < localBytesMax * WELL_SHARE) this.#isNearlyFull = false
    if (this.#isNearlyFull || fileBytes < localBytesMax * SOFT_SHARE) return
    this.#isNearlyFull = true
    const said = 'The audit log nears audit.local_max, where no call can be recorded'
    log.warn({ bytes: fileBytes, local_max: localBytesMax }, said)
  }

  /** Brings gauges up to date before a scrape. */
  gauges(): void {
    this.#metrics.auditBytes.set(this.#wal.stats.fileBytes)
    const lost = Math.max(this.#lostSeen, this.#unrecorded.total)
    this.#metrics.auditLost.inc({}, lost - this.#lostSeen)
    this.#lostSeen = lost
    if (this.#shipping === null) return
    const { entries, oldestUs, forks } = this.#shipping.state
    const ageMs = oldestUs === 0 ? 0 : Math.max(0, wallMs() - oldestUs / 1000)
    this.#metrics.unshippedEntries.set(entries)
    this.#metrics.unshippedAgeSeconds.set(ageMs / 1000)
    this.#metrics.auditForks.set(forks)
  }

  /** Makes everything durable, ends the chain, and ships what is left for at most `shipMs`. */
  async close(shipMs = 0): Promise<void> {
    this.#stopFolding()
    const nowMs = wallMs()
    this.#queueFolded(this.#fold.drain(nowMs))
    this.#queueFolded(this.#exceptions.drain(nowMs))
    this.#queueFolded(this.#acts.drain(nowMs))
    this.#unrecorded.tell(this.healthy, true)
    await this.#wal.close()
    this.#unrecorded.finish()
    await Promise.all([this.#publisher.close(), this.#shipping?.drain(shipMs)])
  }

  #queueFolded(entries: readonly FoldedEntry[]): void {
    for (const entry of entries) this.#wal.queue({ ...entry, requestId: '', awaitsOutcome: false })
  }
}

function decisionEntry(trail: Trail, forward: boolean): TextEntry {
  const committed = trail.client === null ? null : commitCall(trail, forward)
  const { requestId } = trail
  const occurredAtUs = trail.occurredAtMs * 1000
  const said = { kind: 'decision' as const, requestId, occurredAtUs, awaitsOutcome: forward }
  return committing({ ...said, body: decisionBody(trail, contextOf(trail, forward)) }, committed)
}

function outcomeEntry(trail: Trail, endedAtMs: number, nowMs: number): TextEntry {
  const { kept, principal, requestId } = trail
  const occurredAtUs = endedAtMs * 1000
  const body = outcomeBody(trail, endedAtMs, nowMs)
  const entry = { kind: 'outcome' as const, requestId, occurredAtUs, awaitsOutcome: false, body }
  const answer = kept instanceof Kept ? kept.answer : null
  if (answer === null) return entry
  const subject = subjectOf(principal!)
  return committing(entry, commitPersonal({ subject, values: {}, texts: [answer] }))
}

function committing(entry: TextEntry, committed: Committed | null): TextEntry {
  if (committed === null) return entry
  return { ...entry, body: withCommitments(entry.body, committed), side: committed.side }
}

function entryOf(act: AdminAct, nowMs: number) {
  return {
    kind: 'admin',
    requestId: act.requestId,
    occurredAtUs: nowMs * 1000,
    body: adminActBody(act, nowMs),
    awaitsOutcome: false,
  } as const
}

function contextOf({ policyDigest, follows }: Trail, forward: boolean): DecisionContext {
  return { policyDigest, forward, attempt: follows?.attempt ?? 1 }
}

/** What is known of who called, behind commitments, and what is sent on; nothing is of a call that is refused. */
function commitCall({ client, principal, kept }: Trail, forward: boolean): Committed | null {
  if (client === null || principal === null) return null
  const { address, userAgent } = client
  const values = {
    ...(address !== '' && { 'client.address': address }),
    ...(userAgent !== '' && { 'user_agent.original': userAgent }),
  }
  const prompt = forward && kept instanceof Kept ? kept.prompt : null
  const texts = prompt === null ? [] : [prompt]
  return commitPersonal({ subject: subjectOf(principal), values, texts })
}

/** How a call ended that was let through and got no answer from upstream. */
function endingOf({ refusal, forwarded }: Trail): Trail['ending'] {
  if (refusal?.code === 'CLIENT_CLOSED') return 'client_closed'
  // An upstream that is left alone failed this call, too.
  if (refusal?.source === 'upstream') return 'upstream_failed'
  if (!forwarded || refusal?.code === 'POLICY_DENIED') return 'refused'
  return refusal?.source === 'governor' ? 'incomplete' : 'upstream_failed'
}
