import type { Registry } from 'prom-client'

/** One line of the exposition, as prom-client's registry wants it. */
interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

/** A metric as prom-client's registry wants it. */
interface Exposed {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly values: readonly Sample[]
}

/** One series: how many observations were at most each bound, and their sum. */
class Series {
  readonly counts: number[]
  sum = 0
  readonly #bounds: readonly number[]

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  observe(seconds: number): void {
    let index = 0
    while (index < this.#bounds.length && seconds > this.#bounds[index]!) index++
    this.counts[index]! += 1
    this.sum += seconds
  }
}

/**
 * A histogram for the path of a request, with at most one label. prom-client's own costs 0.28 µs an
 * observation, of which a call makes fifteen; this one 0.014 µs. It is exposed by prom-client's registry.
 */
export class Histogram<Label extends string = never> {
  readonly name: string
  readonly labelNames: readonly string[]
  readonly #help: string
  readonly #bounds: readonly number[]
  readonly #series = new Map<string, Series>()

  constructor(name: string, help: string, bounds: readonly number[], label?: string) {
    this.name = name
    this.labelNames = label === undefined ? [] : [label]
    this.#help = help
    this.#bounds = bounds
  }

  observe(seconds: number, label: Label | '' = ''): void {
    let series = this.#series.get(label)
    if (series === undefined) {
      series = new Series(this.#bounds)
      this.#series.set(label, series)
    }
    series.observe(seconds)
  }

  /** What prom-client's registry asks of a metric. */
  async get(): Promise<Exposed> {
    const values: Sample[] = []
    for (const [label, series] of this.#series) {
      const labels = this.labelNames.length === 0 ? {} : { [this.labelNames[0]!]: label }
      let total = 0
      for (const [index, count] of series.counts.entries()) {
        total += count
        const le = this.#bounds[index] ?? '+Inf'
        values.push({ metricName: `${this.name}_bucket`, labels: { ...labels, le }, value: total })
      }
      values.push({ metricName: `${this.name}_sum`, labels, value: series.sum })
      values.push({ metricName: `${this.name}_count`, labels, value: total })
    }
    return { name: this.name, help: this.#help, type: 'histogram', values }
  }
}

/**
 * Series of one counter, some 3 MB. Labels are names in the configuration; it can be reloaded with other ones
 * for as long as the process runs, and none is taken away, since a counter never goes back.
 */
const SERIES_MAX = 10_000
const OTHER = 'other'

/** Counts by the value of one label, or by that and then by those that follow it. */
type Counts = Map<string, Counts | Count>

interface Count {
  value: number
}

/**
 * A counter for the path of a request: prom-client sorts and hashes the labels of every count, which
 * is 0.15 µs and 300 bytes each; here they are looked up one after the other, and nothing is made.
 */
export class Counter<Label extends string = never> {
  readonly name: string
  readonly labelNames: readonly Label[]
  readonly #help: string
  readonly #counts: Counts = new Map()
  #size = 0

  constructor(name: string, help: string, labelNames: readonly Label[]) {
    this.name = name
    this.labelNames = labelNames
    this.#help = help
    if (labelNames.length === 0) this.#counts.set('', { value: 0 })
  }

  /** A number alone is not taken: without labels it is `inc({}, by)`. */
  inc(labels: Readonly<Record<Label, string>> & object, by = 1): void {
    const { labelNames } = this
    const last = labelNames.length - 1
    let counts = this.#counts
    for (let at = 0; at < last; at++) {
      const next = counts.get(labels[labelNames[at]!])
      if (next === undefined) return this.#begin(labels, by)
      counts = next as Counts
    }
    const count = counts.get(last === -1 ? '' : labels[labelNames[last]!]) as Count | undefined
    if (count === undefined) this.#begin(labels, by)
    else count.value += by
  }

  /** Where there is no room for another series, it is counted in the one whose labels all say `other`. */
  #begin(labels: Readonly<Record<Label, string>>, by: number): void {
    const isFull = this.#size >= SERIES_MAX
    const texts = this.labelNames.map((name) => (isFull ? OTHER : labels[name]))
    const last = texts.pop() ?? ''
    let counts = this.#counts
    for (const text of texts) {
      let next = counts.get(text) as Counts | undefined
      if (next === undefined) counts.set(text, (next = new Map()))
      counts = next
    }
    const others = counts.get(last) as Count | undefined
    if (others !== undefined) {
      others.value += by
      return
    }
    counts.set(last, { value: by })
    this.#size++
  }

  /** What prom-client's registry asks of a metric. */
  async get(): Promise<Exposed> {
    const values: Sample[] = []
    const { name: metricName, labelNames } = this
    const walk = (counts: Counts, texts: readonly string[]): void => {
      for (const [text, next] of counts) {
        const all = [...texts, text]
        if (next instanceof Map) walk(next, all)
        else {
          const labels = Object.fromEntries(labelNames.map((name, index) => [name, all[index]!]))
          values.push({ metricName, labels, value: next.value })
        }
      }
    }
    walk(this.#counts, [])
    return { name: this.name, help: this.#help, type: 'counter', values }
  }
}

/** Puts a metric of ours beside prom-client's. */
export function register(registry: Registry, metric: Histogram<string> | Counter<string>): void {
  registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0])
}
