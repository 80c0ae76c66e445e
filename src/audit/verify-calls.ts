import type { EntryRow } from './rows.ts'
import { type ChainState, place } from './verify-chain.ts'
import type { Findings } from './verify-findings.ts'

interface OpenCall {
  readonly chain: ChainState
  readonly seq: number
}

/** One outcome for each forwarded call, and none without a decision; holds the open calls. */
export class CallCheck {
  readonly #findings: Findings
  readonly #open = new Map<string, OpenCall>()

  constructor(findings: Findings) {
    this.#findings = findings
  }

  /** Takes the next row, in the order of commits; `isPruned` says that something of the log is gone by right. */
  take(chain: ChainState, row: EntryRow, isPruned: boolean): void {
    const at = { ...place(chain), seq: row.seq }
    if (row.awaits === 1) {
      if (this.#open.has(row.request_id)) {
        this.#findings.problem(at, 'A second decision for a call that has no outcome yet')
      }
      this.#open.set(row.request_id, { chain, seq: row.seq })
    } else if (row.kind === 'outcome' && !this.#open.delete(row.request_id)) {
      // Its decision may have been pruned; that nothing else is gone is what the links say.
      if (isPruned) return
      this.#findings.problem(at, 'An outcome without a decision, or a second one for its call')
    }
  }

  /** Counts calls that are still open; in a chain that nobody continues (`isOver`) that is a problem. */
  count(isOver: (chain: ChainState) => boolean, isPruned: boolean): number {
    let open = 0
    for (const { chain, seq } of this.#open.values()) {
      if (!isOver(chain)) open++
      // Who recovered the chain told the outcome, and that may have been pruned since.
      else if (chain.recovered && isPruned) continue
      else this.#findings.problem({ ...place(chain), seq }, 'The outcome of this call is missing')
    }
    return open
  }
}
