import { CHANGES, CONTINUES, flagsOf, isPlainBefore, OTHERWISE } from './character-flags.ts'
import { normaliseText, READS } from './normalise.ts'
import { Units } from './units.ts'

/** A text as it reads, for detectors, and the way back to the text as it was sent. */
export interface NormalText {
  /** `normaliseText` of the text as it was sent. */
  readonly text: string
  /**
   * The smallest range of the sent text that reads as `[start, end)` of `text`, in UTF-16 units: what
   * to cut out so that the value is gone, with the invisible characters inside it.
   */
  readonly original: (
    start: number,
    end: number,
  ) => { readonly start: number; readonly end: number }
}

/** Characters a cluster may go on for; a longer run of marks is cut apart (UAX #15 allows 30). */
const CLUSTER_MAX = 128

/** Texts say the same few characters again and again. */
const KNOWN_MAX = 4096

/**
 * Normalises with an index back, cluster by cluster: a character and all that may merge with it. What
 * stays as it is has the identity for an index; elsewhere there is a step for every cluster that
 * changes its length, so time and memory are linear in the text.
 */
export function normaliseWithIndex(text: string): NormalText {
  const units = new Units(text.length)
  const count = units.fill(text, 0, text.length)
  if (READS.stay(units.values, count)) return asSent(text)
  // Where all is simple, places stay.
  if (READS.read(units.values, 0, count) === count) return asSent(units.text(0, count))
  return byCluster(text)
}

function byCluster(text: string): NormalText {
  let writer: Writer | null = null
  for (let at = 0; at < text.length;) {
    const next = at + 1 < text.length ? text.charCodeAt(at + 1) : 0
    if (isPlainBefore(text.charCodeAt(at), next)) {
      at++
      continue
    }
    const base = at
    const point = text.codePointAt(at) ?? 0
    at = clusterEnd(text, at + unitsOf(point))
    const isSingle = at === base + unitsOf(point)
    if (isSingle && (flagsOf(point) & (OTHERWISE | CHANGES | CONTINUES)) === 0) continue
    writer ??= new Writer(text)
    writer.change(base, at, isSingle ? point : -1)
  }
  return writer === null ? asSent(text) : writer.finish()
}

/** A text that reads as it was sent. */
export function asSent(text: string): NormalText {
  return { text, original: (start, end) => ({ start, end }) }
}

/** Writes a text as it reads, and where it is out of step with the text as it was sent. */
class Writer {
  readonly #text: string
  readonly #steps: Step[] = []
  readonly #clusters = new Map<string, string>()
  readonly #singles = new Map<number, string>()
  #units: Uint16Array
  #length = 0
  /** How far the text that was sent is written. */
  #from = 0
  /** The two texts go in step since the last step. */
  #inStep = false

  constructor(text: string) {
    this.#text = text
    this.#units = new Uint16Array(text.length + 64)
  }

  /** The cluster from `base` to `end` may change; `point` is its character where it has only one. */
  change(base: number, end: number, point: number): void {
    const normal = this.#normalOf(base, end, point)
    if (normal.length === end - base && this.#text.startsWith(normal, base)) return
    this.#keep(base)
    if (end - base === 1 && normal.length === 1) this.#goInStep()
    else {
      this.#steps.push({ normal: this.#length, sent: base, isWhole: true })
      this.#inStep = false
    }
    this.#reserve(normal.length)
    for (let i = 0; i < normal.length; i++) this.#units[this.#length++] = normal.charCodeAt(i)
    this.#from = end
  }

  finish(): NormalText {
    const steps = this.#steps
    if (steps.length === 0) return asSent(this.#text)
    this.#keep(this.#text.length)
    steps.push({ normal: this.#length, sent: this.#text.length, isWhole: true })
    const bytes = Buffer.from(this.#units.buffer, 0, this.#length * 2)
    return {
      text: bytes.toString('utf16le'),
      original: (start, end) => originalOf(steps, start, end),
    }
  }

  #normalOf(base: number, end: number, point: number): string {
    if (point < 0) {
      const cluster = this.#text.slice(base, end)
      return this.#clusters.get(cluster) ?? remembered(this.#clusters, cluster, cluster)
    }
    return this.#singles.get(point) ?? remembered(this.#singles, point, String.fromCodePoint(point))
  }

  /** Writes what stays as it is, up to `to`. */
  #keep(to: number): void {
    if (to <= this.#from) return
    this.#goInStep()
    this.#reserve(to - this.#from)
    for (let i = this.#from; i < to; i++) this.#units[this.#length++] = this.#text.charCodeAt(i)
    this.#from = to
  }

  #goInStep(): void {
    if (!this.#inStep) {
      this.#steps.push({ normal: this.#length, sent: this.#from, isWhole: false })
    }
    this.#inStep = true
  }

  #reserve(units: number): void {
    if (this.#length + units <= this.#units.length) return
    const larger = new Uint16Array((this.#length + units) * 2)
    larger.set(this.#units.subarray(0, this.#length))
    this.#units = larger
  }
}

function remembered<Key>(known: Map<Key, string>, key: Key, cluster: string): string {
  const normal = normaliseText(cluster)
  if (known.size < KNOWN_MAX) known.set(key, normal)
  return normal
}

/** Behind the last character from `at` on that may merge with the one before. */
function clusterEnd(text: string, at: number): number {
  let end = at
  for (let count = 0; count < CLUSTER_MAX && end < text.length; count++) {
    const unit = text.charCodeAt(end)
    if (unit < 0x80) return end
    const point = text.codePointAt(end) ?? 0
    if ((flagsOf(point) & CONTINUES) === 0) return end
    end += unitsOf(point)
  }
  return end
}

function unitsOf(point: number): number {
  return point > 0xffff ? 2 : 1
}

/** From here on the two texts go in step, or (`isWhole`) the piece up to the next step is one. */
interface Step {
  readonly normal: number
  readonly sent: number
  readonly isWhole: boolean
}

function originalOf(steps: readonly Step[], start: number, end: number) {
  const first = steps[stepAt(steps, start)]
  const from = first === undefined ? 0 : first.sent + (first.isWhole ? 0 : start - first.normal)
  if (end <= start) return { start: from, end: from }
  const index = stepAt(steps, end - 1)
  const last = steps[index]
  const behind = steps[index + 1]?.sent ?? 0
  if (last === undefined) return { start: from, end: from }
  return { start: from, end: last.isWhole ? behind : last.sent + (end - last.normal) }
}

/** The last step that begins at or before `at`, of those that stand for something. */
function stepAt(steps: readonly Step[], at: number): number {
  let low = 0
  let high = steps.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((steps[middle]?.normal ?? 0) <= at) low = middle
    else high = middle - 1
  }
  return low
}
