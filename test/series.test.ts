import { Registry } from 'prom-client'
import t from 'tap'

import { Counter, Histogram, register } from '../src/series.ts'

t.test('Histogram is exposed the way Prometheus reads it', async (t) => {
  const registry = new Registry()
  const histogram = new Histogram<string>('x_seconds', 'Help', [0.1, 1], 'stage')
  register(registry, histogram)
  for (const seconds of [0.05, 0.1, 0.5, 7]) histogram.observe(seconds, 'read')
  histogram.observe(2, 'decide')
  t.equal(
    await registry.metrics(),
    `# HELP x_seconds Help
# TYPE x_seconds histogram
x_seconds_bucket{stage="read",le="0.1"} 2
x_seconds_bucket{stage="read",le="1"} 3
x_seconds_bucket{stage="read",le="+Inf"} 4
x_seconds_sum{stage="read"} 7.65
x_seconds_count{stage="read"} 4
x_seconds_bucket{stage="decide",le="0.1"} 0
x_seconds_bucket{stage="decide",le="1"} 0
x_seconds_bucket{stage="decide",le="+Inf"} 1
x_seconds_sum{stage="decide"} 2
x_seconds_count{stage="decide"} 1
`,
  )
})

t.test('Histogram without a label is one series', async (t) => {
  const registry = new Registry()
  const histogram = new Histogram('y_seconds', 'Help', [1])
  register(registry, histogram)
  histogram.observe(0.5)
  t.match(
    await registry.metrics(),
    /y_seconds_bucket\{le="1"\} 1\ny_seconds_bucket\{le="\+Inf"\} 1/,
  )
})

t.test('Counter counts by its labels', async (t) => {
  const registry = new Registry()
  const counter = new Counter('z_total', 'Help', ['operation', 'code'])
  register(registry, counter)
  counter.inc({ operation: 'chat', code: 'ok' })
  counter.inc({ code: 'ok', operation: 'chat' }, 2)
  counter.inc({ operation: 'chat', code: 'POLICY_DENIED' })
  t.equal(
    await registry.metrics(),
    `# HELP z_total Help
# TYPE z_total counter
z_total{operation="chat",code="ok"} 3
z_total{operation="chat",code="POLICY_DENIED"} 1
`,
  )
})

t.test('Counter without labels is there from the start', async (t) => {
  const registry = new Registry()
  register(registry, new Counter('z_total', 'Help', []))
  t.match(await registry.metrics(), /^z_total 0$/m)
})

t.test(
  'a counter whose names change for ever is bounded, and still counts everything',
  async (t) => {
    const registry = new Registry()
    const counter = new Counter('z_total', 'Help', ['decision', 'policy'])
    register(registry, counter)
    for (let policy = 0; policy < 12_000; policy++) {
      counter.inc({ decision: 'deny', policy: `policy-${policy}` })
    }
    counter.inc({ decision: 'deny', policy: 'policy-7' })
    const { values } = await counter.get()
    t.equal(values.length, 10_001)
    t.equal(
      values.reduce((sum, { value }) => sum + value, 0),
      12_001,
    )
    const text = await registry.metrics()
    t.match(text, 'z_total{decision="deny",policy="policy-7"} 2\n', 'those that are there go on')
    t.match(text, 'z_total{decision="other",policy="other"} 2000\n')
  },
)
