import t from 'tap'

import type { Snapshot } from '../../src/config/snapshot.ts'
import { subjectOf } from '../../src/policy/asked.ts'
import { upstreamRouter } from '../../src/policy/described-call.ts'
import { callOf } from './subject.ts'

void t.test('upstreamRouter() finds an upstream for what a real call finds one for', async (t) => {
  const upstreams = [{ name: 'up', dialect: 'openai', models: ['gpt-4o*', 'eu/*'] }]
  const route = upstreamRouter({ upstreams, aliases: {} } as unknown as Snapshot)
  for (const [model, name] of [
    ['gpt-4o', 'up'],
    ['openai/gpt-4o', 'up'],
    ['eu/mistral', 'up'],
    ['gpt-4o/claude-opus', null],
  ] as const) {
    t.equal(route(subjectOf(callOf({ model })))?.name ?? null, name, model)
  }
})
