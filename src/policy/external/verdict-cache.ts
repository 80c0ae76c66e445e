import { hash, randomBytes } from 'node:crypto'

import type { Findings } from './wire.ts'

/** Keyed by this process: what is kept names no text to anybody who reads its memory later. */
const PROCESS_KEY = randomBytes(32).toString('base64')

/** What is found in a text in more places is asked for again. */
const SPANS_MAX = 256

/** Remembers the verdicts of the texts asked for last, at most `textsMax`; never the texts. */
export class VerdictCache {
  readonly #textsMax: number
  /** In order of last use. */
  readonly #known = new Map<string, Findings>()

  constructor(textsMax: number) {
    this.#textsMax = textsMax
  }

  get size(): number {
    return this.#known.size
  }

  /** Findings in a text; null when it is not remembered. */
  get(text: string): Findings | null {
    if (this.#textsMax === 0) return null
    const key = keyOf(text)
    const found = this.#known.get(key)
    if (found === undefined) return null
    this.#known.delete(key)
    this.#known.set(key, found)
    return found
  }

  set(text: string, findings: Findings): void {
    if (this.#textsMax === 0 || findings.spans.length > SPANS_MAX) return
    const key = keyOf(text)
    this.#known.delete(key)
    this.#known.set(key, findings)
    if (this.#known.size <= this.#textsMax) return
    const [oldest] = this.#known.keys()
    if (oldest !== undefined) this.#known.delete(oldest)
  }
}

function keyOf(text: string): string {
  return hash('sha256', PROCESS_KEY + text, 'base64')
}
