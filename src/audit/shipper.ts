import { epochFiles } from './file.ts'
import { isDamage, LogFile } from './ship-source.ts'
import type { LocalChain, LocalRow } from './ship-source.ts'
import { chainName, NOTHING_YET } from './ship-types.ts'
import type { ChainHead, ChainId, ShipBatch, Sink } from './ship-types.ts'

/** A chain that another log, or another history, has taken further than this one. */
export interface Fork {
  readonly chain: string
  readonly file: string
  /** What was found, for a person. */
  readonly what: string
}

/** How far shipping is. */
export interface Backlog {
  readonly entries: number
  /** µs since 1970 of the oldest entry that waits; 0 when none does. */
  readonly oldestUs: number
}

/** What is shipped from the log at `path`, where to, and who is told. */
export interface ShipperOptions {
  readonly path: string
  readonly sink: Sink
  readonly onFork: (fork: Fork) => void
  /** The sink has a chain up to here. */
  readonly onHead: (chain: ChainId, head: ChainHead) => void
  /** Entries that the sink could only keep as bytes. */
  readonly onDead: (entries: number) => void
  /** Smaller in tests. */
  readonly rowsMax?: number
}

/** Entries in one batch, and the bytes of their bodies together. */
const ROWS_MAX = 500
const BYTES_MAX = 1024 * 1024
/** Chains asked about in one question. */
const CHAINS_MAX = 500

/** A file on its way: everything up to entry `id` is shipped, or cannot be. */
interface Progress {
  readonly file: LogFile
  id: number
}

/**
 * Copies a log to a sink, entry by entry in the order of commits, all its epochs and writers. Holds
 * no state of its own on the disk: where each chain stands is asked of the sink at the beginning and
 * after every doubt. A chain that stands elsewhere there is a fork: it is left alone and said, and
 * the others go on.
 */
export class Shipper {
  readonly #options: ShipperOptions
  readonly #rowsMax: number
  readonly #files = new Map<number, Progress>()
  /** Of chains as the sink has them. */
  readonly #heads = new Map<string, ChainHead>()
  readonly #forks = new Map<string, Fork>()
  /** Entries of forked chains; they wait, and nothing here will ever ship them. */
  #stuckEntries = 0
  #stuckOldestUs = 0
  /** Epochs whose file is broken; what can be read of the others is shipped. */
  readonly #damaged = new Set<number>()
  /** Last entry of a chain that counts, where a later file says that its writer went on there. */
  readonly #cuts = new Map<string, number>()

  constructor(options: ShipperOptions) {
    this.#options = options
    this.#rowsMax = options.rowsMax ?? ROWS_MAX
  }

  get forks(): readonly Fork[] {
    return [...this.#forks.values()]
  }

  /**
   * Ships one batch. False when there was nothing to ship. Rejects with the sink's error, or with
   * SQLite's; the same batch is then the next again.
   */
  async step(): Promise<boolean> {
    await this.#look()
    for (const progress of this.#files.values()) {
      const rows = this.#read(progress)
      const first = rows[0]
      if (first === undefined) continue
      await this.#ship(progress, runOf(rows, first))
      return true
    }
    return false
  }

  #read({ file, id }: Progress): readonly LocalRow[] {
    try {
      return file.read(id, this.#rowsMax, BYTES_MAX)
    } catch (error) {
      this.#leave(file, error)
      return []
    }
  }

  /** Says that a file is broken and looks at it no more. Throws any other error again. */
  #leave({ path, epoch }: Pick<LogFile, 'path' | 'epoch'>, error: unknown): void {
    if (!isDamage(error)) throw error
    this.#damaged.add(epoch)
    this.#files.get(epoch)?.file.close()
    this.#files.delete(epoch)
    const what = `the file is damaged: ${(error as Error).message}`
    const fork = { chain: '', file: path, what }
    this.#forks.set(path, fork)
    this.#options.onFork(fork)
  }

  /** What waits now. Throws SQLite's errors. */
  backlog(): Backlog {
    let entries = this.#stuckEntries
    let oldestUs = this.#stuckOldestUs
    for (const file of epochFiles(this.#options.path)) {
      if (this.#damaged.has(file.epoch)) continue
      if (!this.#files.has(file.epoch)) {
        const log = new LogFile(file)
        const all = log.backlog(0)
        log.close()
        entries += all.entries
        oldestUs = earlier(oldestUs, all.oldestUs)
        continue
      }
      const { file: log, id } = this.#files.get(file.epoch)!
      const found = log.backlog(id)
      entries += found.entries
      oldestUs = earlier(oldestUs, found.oldestUs)
    }
    return { entries, oldestUs }
  }

  /** Forgets what it knows of the sink, after an error that may have left it anywhere. */
  forget(): void {
    this.close()
    this.#heads.clear()
    this.#cuts.clear()
    this.#stuckEntries = 0
    this.#stuckOldestUs = 0
  }

  close(): void {
    for (const { file } of this.#files.values()) file.close()
    this.#files.clear()
  }

  /** Opens files that are new, and asks the sink where their chains stand. */
  async #look(): Promise<void> {
    const present = epochFiles(this.#options.path)
    for (const [epoch, { file }] of this.#files) {
      if (present.some((each) => each.epoch === epoch)) continue
      file.close()
      this.#files.delete(epoch)
    }
    for (const each of present) {
      if (this.#files.has(each.epoch) || this.#damaged.has(each.epoch)) continue
      let file: LogFile | null = null
      try {
        file = new LogFile(each)
        // Before the former file is read on: what was never acknowledged there is not shipped.
        for (const { writer, epoch, seq } of file.continued()) {
          this.#cuts.set(`${writer}:${epoch}`, seq)
        }
        this.#files.set(each.epoch, { file, id: await this.#start(file) })
      } catch (error) {
        if (!this.#files.has(each.epoch)) file?.close()
        this.#leave(each, error)
      }
    }
  }

  /** The entry behind which there may be some that the sink does not have. */
  async #start(file: LogFile): Promise<number> {
    // First of all: chains that begin meanwhile have their entries behind it.
    let id = file.lastId() + 1
    const chains = file.chains()
    for (let at = 0; at < chains.length; at += CHAINS_MAX) {
      const asked = chains.slice(at, at + CHAINS_MAX)
      const heads = await this.#options.sink.heads(asked)
      asked.forEach((chain, index) => {
        const first = this.#firstUnshipped(file, chain, heads[index] ?? null)
        if (first !== null) id = Math.min(id, first)
      })
    }
    return id - 1
  }

  /** Where in the file the first entry of a chain is that the sink lacks; null when it has all. */
  #firstUnshipped(file: LogFile, chain: LocalChain, head: ChainHead | null): number | null {
    if (head === null) return file.firstAfter(chain, 0)
    return this.#accept(file, chain, head) ? file.firstAfter(chain, head.seq) : null
  }

  /** Whether the sink's history of a chain is ours; else that is a fork. */
  #accept(file: LogFile, chain: LocalChain, head: ChainHead): boolean {
    const ours = file.hashAt(chain, head.seq)
    const end = file.end(chain)?.seq ?? 0
    const pruned = ours === null && head.seq <= end && head.seq <= this.#prunedTo(file, chain)
    if (pruned || ours?.equals(head.hash) === true) {
      this.#moved(chain, head)
      return true
    }
    const what =
      ours === null
        ? `it has entry ${head.seq} there, and ends at ${end} here`
        : `its entry ${head.seq} there is another one than here`
    this.#fork(file, chain, what)
    return false
  }

  async #ship(progress: Progress, run: readonly LocalRow[]): Promise<void> {
    const { chain } = run[0]!
    const last = run.at(-1)!
    const name = chainName(chain)
    const cut = this.#cuts.get(name) ?? Number.MAX_SAFE_INTEGER
    const head = this.#heads.get(name) ?? NOTHING_YET
    const rows = run.map(({ row }) => row).filter(({ seq }) => seq > head.seq && seq <= cut)
    if (rows.length > 0 && !this.#forks.has(name)) {
      const done = await this.#put(progress.file, chain, { chain, after: head, rows })
      if (!done) return
    }
    if (this.#forks.has(name)) {
      this.#stuckEntries += rows.length
      this.#stuckOldestUs = earlier(this.#stuckOldestUs, rows[0]?.occurredAtUs ?? 0)
    }
    progress.id = last.id
  }

  /** False when the same entries have to be looked at again, since the sink has some of them. */
  async #put(file: LogFile, chain: LocalChain, batch: ShipBatch): Promise<boolean> {
    const hole = this.#hole(file, chain, batch)
    if (hole !== null) {
      this.#fork(file, chain, `entries before ${hole} are missing here`)
      return true
    }
    const taken = await this.#options.sink.put(batch)
    if (taken.kind === 'elsewhere') {
      if (taken.head === null) this.#fork(file, chain, 'it is not known there any more')
      else if (this.#accept(file, chain, taken.head)) return false
      return true
    }
    const { seq, hash } = batch.rows.at(-1)!
    if (taken.kind === 'refused') {
      this.#fork(file, chain, taken.why)
      return true
    }
    if (taken.kind === 'differs') {
      this.#fork(file, chain, `entries up to ${seq} were there already, with another content`)
      return true
    }
    this.#moved(chain, { seq, hash })
    if (taken.dead > 0) this.#options.onDead(taken.dead)
    return true
  }

  /** The first entry of a batch that does not follow the one before it, unless what lacks was pruned. */
  #hole(file: LogFile, chain: LocalChain, { after, rows }: ShipBatch): number | null {
    let { seq } = after
    for (const row of rows) {
      if (row.seq !== seq + 1 && row.seq - 1 > this.#prunedTo(file, chain)) return row.seq
      seq = row.seq
    }
    return null
  }

  /** Up to where entries of a chain may lack, by what the log says of itself; looked up when some do. */
  #prunedTo(file: LogFile, { writerId, epoch }: LocalChain): number {
    const writer = writerId.toString('hex')
    let to = 0
    for (const each of [file, ...[...this.#files.values()].map((progress) => progress.file)]) {
      for (const said of each.retentions()) {
        if (said.writer_id === writer && said.epoch === epoch) to = Math.max(to, said.to)
      }
    }
    return to
  }

  #moved(chain: LocalChain, head: ChainHead): void {
    this.#heads.set(chainName(chain), head)
    this.#options.onHead(chain, head)
  }

  #fork(file: LogFile, chain: LocalChain, what: string): void {
    const name = chainName(chain)
    if (this.#forks.has(name)) return
    const fork = { chain: name, file: file.path, what }
    this.#forks.set(name, fork)
    this.#options.onFork(fork)
  }
}

/** The rows of one chain that a read begins with. */
function runOf(rows: readonly LocalRow[], { chain }: LocalRow): LocalRow[] {
  const end = rows.findIndex((each) => each.chain !== chain)
  return rows.slice(0, end === -1 ? rows.length : end)
}

/** The earlier of two times, of which 0 is none. */
function earlier(a: number, b: number): number {
  if (a === 0) return b
  return b === 0 ? a : Math.min(a, b)
}
