import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'
import { parse } from 'yaml'

import { ERRORS } from '../../src/errors.ts'
import { createMetrics } from '../../src/metrics.ts'
import { REPOSITORY } from './support/image.ts'

// Goal: no alert and no panel waits for a metric, a label or a runbook that does not exist. Method: look each up.

const DEPLOY = join(REPOSITORY, 'deploy')
const HISTOGRAM = /_(bucket|sum|count)$/
/** What Prometheus puts on every series by itself. */
const OF_THE_TARGET = ['instance', 'job', 'namespace', 'pod', 'le']

interface Rule {
  readonly record?: string
  readonly alert?: string
  readonly expr: string
  readonly labels?: { readonly severity: string }
  readonly annotations?: { readonly summary: string; readonly runbook: string }
}

const LABELS = await labelsByMetric()
const RULES = (
  parse(readFileSync(join(DEPLOY, 'prometheus/governor-rules.yaml'), 'utf8')) as {
    groups: { rules: Rule[] }[]
  }
).groups.flatMap(({ rules }) => rules)

/** Label names of each metric, as they were declared; histograms by their plain name. */
async function labelsByMetric(): Promise<Map<string, readonly string[]>> {
  const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8')
  const rows = [...readme.matchAll(/^\| `(governor_\w+)` +\| ([\w ]*?) +\|/gm)]
  const exposed = await createMetrics().registry.getMetricsAsJSON()
  const names = new Set(exposed.map(({ name }) => name))
  return new Map(
    rows
      .filter(([, name]) => names.has(name!))
      .map(([, name, labels]) => [name!, labels!.split(' ').filter((label) => label !== '')]),
  )
}

/** A metric or a label in a selector that is not there; '' when all are. */
function missingMetric(expression: string): string {
  for (const [, name = '', selector = ''] of expression.matchAll(
    /\b(governor_\w+)(?:\{([^}]*)\})?/g,
  )) {
    const labels = LABELS.get(name) ?? LABELS.get(name.replace(HISTOGRAM, ''))
    if (labels === undefined) return name
    for (const [, label = ''] of selector.matchAll(/(\w+)\s*=~?\s*"/g)) {
      if (!labels.includes(label) && !OF_THE_TARGET.includes(label)) return `${name}{${label}}`
    }
  }
  return ''
}

/** A label that is grouped by, and no metric has; '' when there is none. */
function missingGroup(expression: string): string {
  const all = new Set([...LABELS.values()].flat().concat(OF_THE_TARGET))
  const lists = [...expression.matchAll(/\bby \(([^)]*)\)/g)].map(([, list = '']) => list)
  const label = lists.flatMap((list) => list.split(/, */)).find((each) => !all.has(each))
  return label === undefined ? '' : `by (${label})`
}

/** What an expression asks for that is not there; '' when all is. */
function missing(expression: string): string {
  const records = [...expression.matchAll(/\bgovernor:[\w:]+/g)].map(([record]) => record)
  const unknown = records.find((name) => !RULES.some(({ record }) => record === name))
  return unknown ?? (missingMetric(expression) || missingGroup(expression))
}

t.test('a name that does not exist is found', async (t) => {
  t.equal(missing('rate(governor_request_total[5m])'), 'governor_request_total')
  t.equal(missing('governor_forks'), 'governor_forks')
  t.equal(missing('governor_breaker_state{model="x"}'), 'governor_breaker_state{model}')
  t.equal(missing('sum by (colour) (governor_breaker_state)'), 'by (colour)')
  t.equal(missing('governor:faults:ratio_rate9m > 1'), 'governor:faults:ratio_rate9m')
})

for (const { alert, record, expr, labels, annotations } of RULES) {
  t.test(`${alert ?? record} asks for what there is`, async (t) => {
    t.equal(missing(expr), '')
    if (alert === undefined) return
    t.match(labels?.severity, /^(page|ticket)$/)
    t.match(annotations?.summary, /\w/)
    t.doesNotThrow(() => readFileSync(join(REPOSITORY, annotations!.runbook)))
  })
}

t.test('each fault of our own, and nothing else, counts against the objective', async (t) => {
  const ours = Object.entries(ERRORS).filter(
    // Of the admin API, and of a process that is told to stop.
    ([code, { source }]) =>
      source === 'governor' && !['AUDIT_UNREADABLE', 'DRAINING'].includes(code),
  )
  const [, counted = ''] = /code=~"([A-Z_|]+)"/.exec(RULES[0]!.expr) ?? []
  t.strictSame(counted.split('|').sort(), ours.map(([code]) => code).sort())
})

t.test('every runbook that an alert can open is one of those there are', async (t) => {
  const there = readdirSync(join(DEPLOY, 'runbooks')).map((name) => `deploy/runbooks/${name}`)
  const named = new Set(RULES.flatMap(({ annotations }) => annotations?.runbook ?? []))
  // Nothing measures that a key has leaked.
  t.strictSame([...named, 'deploy/runbooks/key-leaked.md'].sort(), there.sort())
})

t.test('each panel of the dashboard asks for what there is', async (t) => {
  const { panels } = JSON.parse(readFileSync(join(DEPLOY, 'grafana/governor.json'), 'utf8')) as {
    panels: { title: string; targets?: { expr: string }[] }[]
  }
  const asked = panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ title, expr })),
  )
  t.ok(asked.length > 20)
  for (const { title, expr } of asked) t.equal(missing(expr), '', title)
})

t.test('pods are found by the name of their port', async (t) => {
  const config = readFileSync(join(DEPLOY, 'prometheus/prometheus.yaml'), 'utf8')
  const pod = readFileSync(join(DEPLOY, 'kubernetes/pod.yaml'), 'utf8')
  t.match(pod, /name: health, containerPort: 4143/)
  t.match(config, /container_port_name\], regex: health,/)
  t.match(pod, /- name: governor\n/)
})
