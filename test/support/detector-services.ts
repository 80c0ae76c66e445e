import { chat } from './client.ts'
import { answer, type Behaviour, FakeUpstream } from './fake-upstream.ts'
import { type InProcess, startGovernor } from './start-governor.ts'

/** Services that find things in texts, and a Governor that asks them. */

type Test = Parameters<typeof startGovernor>[0]

/** Finds every "Jane Doe", at places counted as Python does. */
export const findJane: Behaviour = (received, response) => {
  const { text } = JSON.parse(received.body.toString()) as { text: string }
  const found = [...text.matchAll(/Jane Doe/g)].map(({ index }) => {
    const start = Array.from(text.slice(0, index)).length
    return { entity_type: 'PERSON', start, end: start + 8, score: 0.85, analysis_explanation: null }
  })
  return answer(found)(received, response)
}

/** Flags every input with the word "kill". */
export const moderate: Behaviour = (received, response) => {
  const { input } = JSON.parse(received.body.toString()) as { input: string[] }
  const results = input.map((text) => {
    const violence = text.includes('kill') ? 0.9 : 0.01
    return {
      flagged: violence > 0.5,
      categories: { violence: violence > 0.5 },
      category_scores: { violence },
    }
  })
  return answer({ id: 'modr-1', model: 'omni-moderation-latest', results })(received, response)
}

export const OPEN = "\n  - { id: open, allow: { operations: [chat], models: ['gpt-4o*'] } }"
export const PERSON = `${OPEN}\n  - { id: person, deny: { input: { detect: [presidio] } }, message: No names here }`

export function presidio(url: string, more = ''): string {
  return `[{ id: presidio, presidio: { url: '${url}'${more} } }]`
}

export async function started(
  t: Test,
  behaviour: Behaviour,
  { more = '', policies = PERSON }: { more?: string; policies?: string } = {},
): Promise<{ service: FakeUpstream; site: InProcess }> {
  const service = await FakeUpstream.start(t, behaviour)
  const site = await startGovernor(t, { policies, detectors: presidio(service.url, more) })
  return { service, site }
}

interface Result {
  readonly id: string
  readonly result: string
  readonly why: string
}

/** What the client hears and what the entry says of a policy. */
export async function told(site: InProcess, content: string, id = 'person') {
  const { status, headers, json } = await site.send({ body: chat(content) })
  const requestId = String(headers['x-governor-request-id'])
  const [decision] = await site.entriesOf(requestId, 1)
  const policies = (decision?.body['policies'] ?? []) as Result[]
  const said = policies.find((each) => each.id === id)
  return {
    status,
    message: json.error?.message ?? '',
    said: said === undefined ? null : `${said.result}: ${said.why}`,
    detected: (decision?.body['facts'] as Record<string, unknown> | undefined)?.['detected'],
  }
}
