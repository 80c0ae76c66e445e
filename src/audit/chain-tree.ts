import { CompactRange } from './merkle.ts'
import { originOf } from './note.ts'
import type { Signer } from './signing-key.ts'

/** At so many entries since the last checkpoint the next one is made. */
const CHECKPOINT_ENTRIES = 1_024
/** After so long it is made for fewer, when there is something new. */
const CHECKPOINT_MS = 60_000

/** A checkpoint that is ready to be appended as the next entry. */
export interface MadeCheckpoint {
  readonly occurredAtUs: number
  /** JSON. */
  readonly body: string
  readonly note: string
}

/**
 * The Merkle tree over one writer's entries, and when its root is signed. A leaf is an entry's hash;
 * a checkpoint covers every entry before it, and the next one covers the checkpoint itself.
 */
export class ChainTree {
  readonly #signer: Signer
  readonly #origin: string
  /** As of the last checkpoint. */
  #signed = new CompactRange()
  /** What came since. */
  #since = new CompactRange()
  #last: Uint8Array = new Uint8Array(32)
  #hasNews = false
  #signedMs: number

  /** `nowMs` is monotonic, as in `isDue`. */
  constructor(
    signer: Signer,
    chain: { readonly writer: string; readonly epoch: number },
    nowMs: number,
  ) {
    this.#signer = signer
    this.#origin = originOf(chain.writer, chain.epoch)
    this.#signedMs = nowMs
  }

  /** Adds the next entry; one that is no news by itself makes no checkpoint due. */
  add(hash: Uint8Array, isNews: boolean): void {
    this.#since.add(hash)
    this.#last = hash
    this.#hasNews ||= isNews
  }

  isDue(nowMs: number): boolean {
    if (this.#since.end - this.#since.begin >= CHECKPOINT_ENTRIES) return true
    return this.#hasNews && nowMs - this.#signedMs >= CHECKPOINT_MS
  }

  /**
   * Signs the tree as it stands; `wallMs` is the time the entry will have. `range` in the body are the
   * subtrees since the checkpoint before: with them the two roots are consistent (RFC 6962 §2.1.2)
   * without the entries between, which may have been pruned; `last` is the hash of the last one.
   */
  sign(wallMs: number, nowMs: number): MadeCheckpoint {
    this.#signer.refresh(wallMs)
    const occurredAtMs = this.#signer.timeMs(wallMs)
    const range = this.#since.hashes.map((each) => Buffer.from(each).toString('base64'))
    this.#signed.append(this.#since)
    this.#since = new CompactRange(this.#signed.end)
    this.#hasNews = false
    this.#signedMs = nowMs
    const size = this.#signed.end
    const note = this.#signer.sign({ origin: this.#origin, size, root: this.#signed.root() })
    // The dash of the signature line as an escape: an entry stays plain ASCII.
    const body = JSON.stringify({
      kind: 'checkpoint',
      time: new Date(occurredAtMs).toISOString(),
      size,
      last: Buffer.from(this.#last).toString('hex'),
      range,
      note,
    }).replaceAll('—', '\\u2014')
    return { occurredAtUs: occurredAtMs * 1000, body, note }
  }
}
