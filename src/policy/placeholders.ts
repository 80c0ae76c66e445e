import type { Placeholders } from './answer-inspector.ts'
import { normaliseText } from './normalise.ts'

const PLACEHOLDER = /^\[(.+)_([0-9]+)\]$/
/** The most different values one answer has names for; one more is refused. */
const VALUES_MAX = 10_000

/**
 * Placeholders of one answer, `[EMAIL_1]`, numbered by first appearance, and by how they read: the
 * same value has the same one in every piece and in the summary at the end.
 */
export class AnswerPlaceholders implements Placeholders {
  readonly #known = new Map<string, string>()
  readonly #counts = new Map<string, number>()

  /** `given` are placeholders of the request and what they stand for; the answer goes on from there. */
  constructor(given: ReadonlyMap<string, string> = new Map()) {
    for (const [placeholder, value] of given) {
      const [, label = '', count = ''] = PLACEHOLDER.exec(placeholder) ?? []
      this.#known.set(`${label}\0${normaliseText(value)}`, placeholder)
      this.#counts.set(label, Math.max(this.#counts.get(label) ?? 0, Number(count)))
    }
  }

  /** Throws a RangeError where the values are too many. */
  of(label: string, value: string): string {
    const name = `${label}\0${normaliseText(value)}`
    const known = this.#known.get(name)
    if (known !== undefined) return known
    if (this.#known.size >= VALUES_MAX) throw new RangeError(`more than ${VALUES_MAX} values`)
    const count = (this.#counts.get(label) ?? 0) + 1
    const placeholder = `[${label}_${count}]`
    this.#counts.set(label, count)
    this.#known.set(name, placeholder)
    return placeholder
  }
}
