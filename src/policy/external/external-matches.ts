import type { Decision, PolicyResult } from '../../exchange.ts'
import type { Applicant } from '../applicants.ts'
import type { Detections, TextMatches } from '../scan.ts'
import type { DetectorUse } from '../text-rules.ts'
import type { ExternalAnswer } from './external-detector.ts'

/** What was found in the texts of a call here, and what services said of them. */
export class ExternalMatches implements TextMatches {
  readonly #inner: TextMatches
  readonly #uses: readonly DetectorUse[]
  readonly #answers: ReadonlyMap<string, ExternalAnswer>

  constructor(
    inner: TextMatches,
    uses: readonly DetectorUse[],
    answers: ReadonlyMap<string, ExternalAnswer>,
  ) {
    this.#inner = inner
    this.#uses = uses
    this.#answers = answers
  }

  pattern(index: number): boolean {
    return this.#inner.pattern(index)
  }

  words(index: number): boolean {
    return this.#inner.words(index)
  }

  detectedAny(indexes: readonly number[]): boolean {
    return this.#inner.detectedAny(indexes) || indexes.some((index) => this.#found(index) > 0)
  }

  get detections(): Detections {
    const inner = this.#inner.detections
    const counts: Record<string, number> = { ...inner.counts }
    for (const [id, answer] of this.#answers) {
      if ('found' in answer && answer.found > 0) counts[id] = answer.found
    }
    return {
      counts,
      among: (indexes) => [
        ...inner.among(indexes),
        ...indexes.flatMap((index) =>
          this.#found(index) > 0 ? (this.#uses[index]?.id ?? []) : [],
        ),
      ],
    }
  }

  /** The first of these detectors that failed; null when none did. */
  failureOf(ids: readonly string[]): Extract<ExternalAnswer, { failed: string }> | null {
    let first: Extract<ExternalAnswer, { failed: string }> | null = null
    for (const id of ids) {
      const answer = this.#answers.get(id)
      if (answer === undefined || 'found' in answer) continue
      // One whose failure refuses weighs more than one whose failure does not.
      if (first === null || (first.onError === 'allow' && answer.onError === 'deny')) first = answer
    }
    return first
  }

  /** The same, had every detector that failed found something. */
  supposing(): TextMatches {
    const supposed = [...this.#answers].map(([id, answer]) => {
      return [id, 'found' in answer ? answer : { found: 1 }] as const
    })
    return new ExternalMatches(this.#inner, this.#uses, new Map(supposed))
  }

  #found(index: number): number {
    const answer = this.#answers.get(this.#uses[index]?.id ?? '')
    return answer !== undefined && 'found' in answer ? answer.found : 0
  }
}

/** As if every service had found something. */
export function externalFound(
  detectors: readonly DetectorUse[],
  applicants: readonly Applicant[],
  texts: TextMatches,
): TextMatches {
  const ids = applicants.flatMap(({ policy }) => policy.external)
  return new ExternalMatches(texts, detectors, new Map(ids.map((id) => [id, { found: 1 }])))
}

/** Refused whatever services say: they are not asked, and the entry says so. */
export function skipping(rest: Decision, open: readonly Applicant[]): Decision {
  const why = 'input.detect: not asked, the call is refused anyway'
  const skipped = open.map(({ policy: { id, mode } }): PolicyResult => {
    return { id, mode, result: 'skipped', why }
  })
  return { ...rest, policies: [...rest.policies, ...skipped] }
}
