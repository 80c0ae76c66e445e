import { type EventWatch, HeldAnswer } from '../answers/held.ts'
import { parseObject } from '../dialect/answer-json.ts'
import { createdInLine, firstInLine } from '../dialect/created.ts'
import { LineSplitter } from '../dialect/lines.ts'
import type { Trail } from '../exchange.ts'
import type { Answer } from '../upstream/call.ts'
import type { Ownership } from './ownership.ts'

/** What a batch made is its tenant's before the lines that name it go on. */

/** Ids written down at once: of a chunk of a file that streams there are far fewer. */
const CLAIMED_MAX = 1000
const LF = 0x0a

/**
 * Name under which it is remembered that a file holds what a batch was answered: what the lines of other
 * files say was written by whoever uploaded them. No call can name it, because of its space.
 */
export function resultsOf(fileId: string): string {
  return `${fileId} results`
}

/**
 * The same answer, of whose lines none goes on before the ids in it are its tenant's. Rejects with
 * OWNERSHIP_UNAVAILABLE, and what the upstream failed with.
 */
export async function claimedResults(
  ownership: Ownership,
  answer: Answer,
  trail: Trail,
): Promise<Answer> {
  if (!(await holdsResults(ownership, trail))) return answer
  const watch = new ResultLines(ownership, trail)
  if (answer.whole !== null) {
    await watch.whole(answer.whole)
    return answer
  }
  const held = new HeldAnswer(answer, watch, (sink) => new LineSplitter(sink))
  await held.begun
  return held
}

async function holdsResults(ownership: Ownership, { route, principal }: Trail): Promise<boolean> {
  const { api } = route!.endpoint
  if (api === 'messages.batches.results') return true
  const [id] = route!.ids ?? []
  if (api !== 'files.content' || id === undefined) return false
  const name = resultsOf(id)
  return (await ownership.own([name], principal!.tenant)).has(name)
}

/** Lines that come together are written down together. */
class ResultLines implements EventWatch {
  readonly #ownership: Ownership
  readonly #trail: Trail
  /** Ids of the lines that came in this turn; null where there are none yet. */
  #ids: Set<string> | null = null

  constructor(ownership: Ownership, trail: Trail) {
    this.#ownership = ownership
    this.#trail = trail
  }

  async whole(file: Buffer): Promise<void> {
    const ids = new Set<string>()
    for (let from = 0; from < file.length;) {
      const found = file.indexOf(LF, from)
      const to = found === -1 ? file.length : found
      for (const id of idsIn(file.subarray(from, to))) ids.add(id)
      from = to + 1
    }
    await this.#claim(ids)
  }

  event(line: Buffer): Promise<void> | null {
    return this.#note(idsIn(line))
  }

  start(line: Buffer): Promise<void> | null {
    const id = firstInLine(line.toString('latin1'))
    return this.#note(id === null ? [] : [id])
  }

  /** Null for a line that stands behind one of the same turn: it waits with it. */
  #note(ids: readonly string[]): Promise<void> | null {
    if (ids.length === 0) return null
    if (this.#ids !== null) {
      for (const id of ids) this.#ids.add(id)
      return null
    }
    this.#ids = new Set(ids)
    return Promise.resolve().then(() => {
      const noted = this.#ids!
      this.#ids = null
      return this.#claim(noted)
    })
  }

  async #claim(ids: ReadonlySet<string>): Promise<void> {
    const all = [...ids]
    for (let from = 0; from < all.length; from += CLAIMED_MAX) {
      await this.#ownership.claim(this.#trail, all.slice(from, from + CLAIMED_MAX), false)
    }
  }
}

function idsIn(line: Buffer): string[] {
  const object = line.length === 0 ? null : parseObject(line.toString('utf8'))
  return object === null ? [] : createdInLine(object).map(({ id }) => id)
}
