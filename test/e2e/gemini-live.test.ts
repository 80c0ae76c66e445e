import { GoogleGenAI, type LiveServerMessage, Modality, type Session } from '@google/genai'
import t from 'tap'

import { FakeRealtime, type FakeSession, RealtimeClient } from '../support/fake-realtime.ts'
import {
  type InProcess,
  type Sections,
  startGovernor,
  UPSTREAM_KEY,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: sessions of Gemini's live API pass the same door as every other call, message by message.
 * Method: Google's own client and a bare one, and a provider that a test drives by hand, which like
 * Google's sends its messages as binary ones.
 */

const MODEL = 'gemini-live-2.5-flash-preview'
const PATH = '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent'
const POLICIES = `
  - { id: live, allow: { operations: [realtime], models: ['gemini-live*'] } }
  - { id: codename, deny: { input: { words: [zeus] } }, message: This stays inside }
  - { id: secret, deny: { output: { words: [bluebird] } }, message: Not to be said }
  - { id: cap, set: { max_output_tokens: { default: 100, at_most: 200 } } }
  - { id: mask, redact: { input: { detect: [email] } } }
  - { id: no-shell, deny: { when: "'shell' in request.tools" } }`
const OPEN = `
  - { id: live, allow: { operations: [realtime], uninspectable: [audio, image] } }
  - { id: codename, deny: { input: { words: [zeus] } } }`

type Json = Readonly<Record<string, unknown>>

function tell(session: FakeSession, message: Json): void {
  session.socket.send(Buffer.from(JSON.stringify(message)))
}

const USAGE = { promptTokenCount: 20, responseTokenCount: 7, thoughtsTokenCount: 3 }

function answer(session: FakeSession, pieces: readonly string[]): void {
  for (const text of pieces) {
    tell(session, { serverContent: { modelTurn: { role: 'model', parts: [{ text }] } } })
  }
  tell(session, { serverContent: { generationComplete: true } })
  tell(session, { serverContent: { turnComplete: true }, usageMetadata: USAGE })
}

interface Parts {
  readonly upstream: FakeRealtime
  readonly site: InProcess
}

async function setUp(
  t: Parameters<typeof startGovernor>[0],
  sections: Sections = {},
): Promise<Parts> {
  const upstream = await FakeRealtime.start(t, { greets: false })
  upstream.script = (session, event: Json) => {
    if ('setup' in event) tell(session, { setupComplete: {} })
    const content = event['clientContent'] as { turnComplete?: boolean } | undefined
    if (content?.turnComplete === true) answer(session, ['Hel', 'lo'])
  }
  const site = await startGovernor(t, {
    upstream: upstream.url,
    dialect: 'gemini',
    policies: POLICIES,
    ...sections,
  })
  return { upstream, site }
}

interface Heard {
  readonly session: Session
  readonly messages: LiveServerMessage[]
  closed: { code: number; reason: string } | null
}

async function connect({ site }: Parts, config: object = {}, model = MODEL): Promise<Heard> {
  const client = new GoogleGenAI({ apiKey: site.key, httpOptions: { baseUrl: site.url } })
  const messages: LiveServerMessage[] = []
  const heard = { messages, closed: null } as Omit<Heard, 'session'>
  const session = await client.live.connect({
    model,
    config: { responseModalities: [Modality.TEXT], ...config },
    callbacks: {
      onmessage: (message) => void messages.push(message),
      onclose: ({ code, reason }) => {
        heard.closed = { code, reason }
      },
    },
  })
  return Object.assign(heard, { session })
}

function said({ messages }: Heard): string {
  return messages
    .flatMap(({ serverContent }) => serverContent?.modelTurn?.parts ?? [])
    .map(({ text }) => text ?? '')
    .join('')
}

function turns({ messages }: Heard): number {
  return messages.filter(({ serverContent }) => serverContent?.turnComplete === true).length
}

t.test('the real client: text, a tool, a refusal, and the usage of each answer', async (t) => {
  const parts = await setUp(t)
  const { upstream, site } = parts
  const live = await connect(parts, {
    systemInstruction: 'Be kind to jo@example.com',
    maxOutputTokens: 500,
    tools: [{ functionDeclarations: [{ name: 'weather' }] }],
  })
  live.session.sendClientContent({ turns: 'hi' })
  await until('the answer', () => turns(live) === 1)
  t.equal(said(live), 'Hello')
  live.session.sendClientContent({ turns: 'about zeus' })
  await until('the refusal', () => turns(live) === 2)
  const refusal = live.messages.at(-1) as unknown as Json
  t.match(refusal, {
    error: { code: 403, status: 'PERMISSION_DENIED', message: /This stays inside/ },
  })
  upstream.script = (session, event: Json) => {
    if ('clientContent' in event) {
      tell(session, { toolCall: { functionCalls: [{ id: 'c', name: 'weather', args: {} }] } })
    } else if ('toolResponse' in event) answer(session, ['It is blue'])
  }
  live.session.sendClientContent({ turns: 'the weather?' })
  await until('the call', () => live.messages.some(({ toolCall }) => toolCall !== undefined))
  live.session.sendToolResponse({
    functionResponses: { id: 'c', name: 'weather', response: { sky: 'blue' } },
  })
  await until('the last answer', () => turns(live) === 3)
  const { head, received } = upstream.last
  t.equal(head.url, PATH.replace('v1beta', 'v1'))
  t.equal(head.headers['x-goog-api-key'], UPSTREAM_KEY)
  t.notOk(JSON.stringify(head.rawHeaders).includes(site.key.split('.')[1]!))
  const { setup } = received[0] as unknown as { setup: Json }
  t.match(setup, {
    model: `models/${MODEL}`,
    generationConfig: { maxOutputTokens: 200 },
    systemInstruction: { parts: [{ text: 'Be kind to [EMAIL_1]' }] },
  })
  t.strictSame(
    received.map((message) => Object.keys(message)[0]),
    ['setup', 'clientContent', 'clientContent', 'toolResponse'],
  )
  live.session.close()
  const outcomes = await site.bodiesOf('outcome', 4)
  t.match(
    outcomes.filter((body) => body['gen_ai.usage.input_tokens'] === 20),
    [{ outcome: 'complete', 'gen_ai.usage.output_tokens': 10 }, { outcome: 'complete' }],
  )
  t.match(outcomes.at(-1), { outcome: 'complete', status: 101 })
  const [opening, first] = await site.bodiesOf('decision', 5)
  t.match(opening, {
    api: 'live',
    operation: 'realtime',
    'gen_ai.request.model': `models/${MODEL}`,
    changed: ['redacted', 'set'],
  })
  t.match(first, { api: 'live.clientContent', 'gen_ai.request.model': `models/${MODEL}` })
})

t.test('a setup that is refused closes the session, and no provider is called', async (t) => {
  const parts = await setUp(t)
  await t.rejects(connect(parts, {}, 'gemini-2.5-pro'), { message: /1008\): POLICY_DENIED/ })
  await t.rejects(connect(parts, { systemInstruction: 'zeus' }), { message: /POLICY_DENIED/ })
  const tools = [{ functionDeclarations: [{ name: 'shell' }] }]
  await t.rejects(connect(parts, { tools }), { message: /POLICY_DENIED/ })
  await t.rejects(connect(parts, { sessionResumption: { handle: 'h' } }), {
    message: /POLICY_DENIED/,
  })
  const hosted = [{ googleSearch: {} }]
  await t.rejects(connect(parts, { tools: hosted }), { message: /POLICY_DENIED/ })
  const cases: readonly [string, object | string, string][] = [
    ['no setup', { clientContent: {} }, 'OPERATION_UNKNOWN'],
    ['no model', { setup: {} }, 'MODEL_INVALID'],
    ['two at once', { setup: { model: MODEL }, clientContent: {} }, 'FIELD_INVALID'],
    ['no JSON', '{"setup":', 'BODY_INVALID'],
    ['twice the same', `{"setup":{"model":"${MODEL}","model":"other"}}`, 'BODY_INVALID'],
    ['another spelling', { Setup: { model: MODEL } }, 'FIELD_INVALID'],
  ]
  for (const [name, message, reason] of cases) {
    const client = await RealtimeClient.open(parts.site.url, parts.site.key, PATH)
    client.socket.send(typeof message === 'string' ? message : JSON.stringify(message))
    t.match(await client.isClosed(), { code: 1008, reason }, name)
  }
  t.equal(parts.upstream.sessions.length, 0)
})

t.test('ephemeral tokens are refused where they are made and where they are used', async (t) => {
  const { site } = await setUp(t)
  const made = await site.send({ path: '/v1alpha/auth_tokens', body: '{}' })
  t.equal(made.status, 403)
  t.match(made.text, /Ephemeral tokens/)
  const used = `${PATH.replace('v1beta', 'v1alpha')}Constrained?access_token=auth`
  await t.rejects(RealtimeClient.open(site.url, site.key, used), { message: '403' })
  await t.rejects(RealtimeClient.open(site.url, 'nobody', PATH), { message: '401' })
  const elsewhere = `${PATH}?key=${site.key}&model=x`
  await t.rejects(RealtimeClient.open(site.url, site.key, elsewhere), { message: '400' })
  const music = PATH.replace('Content', 'Music')
  await t.rejects(RealtimeClient.open(site.url, site.key, music), { message: '403' })
})

t.test(
  'what is said while nobody asked is decided when it begins; answers are held back',
  async (t) => {
    const parts = await setUp(t, { limits: '[{ id: few, per: key, requests: 3/1h }]' })
    const live = await connect(parts)
    const session = parts.upstream.last
    answer(session, ['a blue', 'bird'])
    await until('the refusal', () => turns(live) === 1)
    t.notMatch(JSON.stringify(live.messages), /blue|bird/)
    tell(session, {
      serverContent: { modelTurn: { parts: [] }, outputTranscription: { text: 'a ' } },
    })
    tell(session, { serverContent: { outputTranscription: { text: 'robin' }, turnComplete: true } })
    await until('the transcript', () => turns(live) === 2)
    answer(session, ['too', 'much'])
    await until(
      'the limit',
      () =>
        live.messages.length > 0 && /RESOURCE|limit/i.test(JSON.stringify(live.messages.at(-1))),
    )
    t.notMatch(JSON.stringify(live.messages), /too|much/)
    tell(session, { goAway: { timeLeft: '10s' } })
    await until('it goes on', () => live.messages.some(({ goAway }) => goAway !== undefined))
    live.session.close()
    const outcomes = await parts.site.bodiesOf('outcome', 3)
    t.strictSame(
      outcomes.map(({ outcome }) => outcome),
      ['refused', 'complete', 'complete'],
    )
  },
)

t.test('a session is gone on from by the tenant whose it was, and by no other', async (t) => {
  const policies = `
  - { id: live, allow: { operations: [realtime] } }
  - { id: codename, for: { tenants: [acme] }, deny: { input: { words: [zeus] } } }`
  const parts = await setUp(t, { policies, ownership: 'embedded' })
  const handle = 'CihpZA+/of acme=='
  parts.upstream.script = (session, event: Json) => {
    if (!('setup' in event)) return
    tell(session, { setupComplete: {} })
    tell(session, { sessionResumptionUpdate: { newHandle: handle, resumable: true } })
  }
  const acme = parts.site.key
  const globex = await parts.site.createKey('other', [], 'globex')
  const first = await connect(parts, { sessionResumption: {} })
  await until('a handle', () => {
    return first.messages.find((each) => each.sessionResumptionUpdate !== undefined) ?? null
  })
  first.session.close()
  const isOpened = async (key: string, given: string): Promise<boolean> => {
    const { length } = parts.upstream.sessions
    const client = await RealtimeClient.open(parts.site.url, key, PATH)
    const setup = { model: `models/${MODEL}`, sessionResumption: { handle: given } }
    client.socket.send(JSON.stringify({ setup }))
    await until('an answer', () => client.closed ?? client.heard[0] ?? null)
    client.socket.terminate()
    return parts.upstream.sessions.length > length
  }
  t.equal(await isOpened(globex, handle), false, 'that of another tenant, whatever policies say')
  t.equal(await isOpened(acme, handle), true, 'its own counts as inspected')
  t.equal(await isOpened(acme, 'of-elsewhere'), false, 'that of nobody is for policies')
  t.equal(await isOpened(globex, 'of-elsewhere'), true, 'which may let it pass')
})

t.test('a transcript that comes after its turn is looked at as one text with it', async (t) => {
  const parts = await setUp(t)
  const live = await connect(parts)
  const session = parts.upstream.last
  const spoken = (text: string, more: Json = {}) =>
    tell(session, { serverContent: { outputTranscription: { text, ...more } } })
  const turn = (text: string) => {
    tell(session, { serverContent: { modelTurn: { parts: [] } } })
    spoken(text)
    tell(session, { serverContent: { turnComplete: true }, usageMetadata: USAGE })
  }
  const heard = () =>
    live.messages.map(({ serverContent }) => serverContent?.outputTranscription?.text ?? '')
  turn('it is ')
  spoken('a robin', { finished: true })
  await until('all of it', () => heard().join('') === 'it is a robin')
  live.session.sendClientContent({ turns: 'hi' })
  spoken(', as I said')
  await until('the answer', () => said(live) === 'Hello')
  t.equal(heard().join(''), 'it is a robin, as I said', 'it did not begin the next response')
  await until('the end of it', () => turns(live) === 2)
  turn('it is a blue')
  await until('the turn', () => turns(live) === 3)
  spoken('bird')
  spoken(' that sings', { finished: true })
  await until('the refusal', () => turns(live) === 4)
  answer(session, ['a blue', 'bird'])
  await until('the next refusal', () => turns(live) === 5)
  spoken('bird')
  answer(session, ['last'])
  await until('the last answer', () => turns(live) === 6)
  t.notMatch(JSON.stringify(live.messages), /bird|sings/)
  live.session.close()
  const outcomes = await parts.site.bodiesOf('outcome', 6)
  t.strictSame(
    outcomes.map(({ outcome }) => outcome),
    ['complete', 'complete', 'complete', 'refused', 'complete', 'complete'],
    'nothing but turns is settled as one',
  )
})

t.test('audio and pictures cannot be read: a policy has to say that they may pass', async (t) => {
  const parts = await setUp(t)
  const strict = await connect(parts)
  const data = Buffer.alloc(600).toString('base64')
  strict.session.sendRealtimeInput({ audio: { data, mimeType: 'audio/pcm;rate=16000' } })
  await until('the refusal', () => strict.messages.length > 1)
  t.match(strict.messages.at(-1), { error: { code: 403 } })
  strict.session.sendRealtimeInput({ text: 'zeus' })
  await until('the next refusal', () => strict.messages.length === 3)
  t.equal(parts.upstream.last.received.length, 1)
  strict.session.close()
})

t.test('audio that may pass is decided once in a while, pictures each', async (t) => {
  const data = Buffer.alloc(600).toString('base64')
  const open = await setUp(t, { policies: OPEN })
  const live = await connect(open)
  for (let piece = 0; piece < 20; piece++) {
    live.session.sendRealtimeInput({ audio: { data, mimeType: 'audio/pcm;rate=16000' } })
  }
  live.session.sendRealtimeInput({ video: { data, mimeType: 'image/jpeg' } })
  live.session.sendRealtimeInput({ audio: { data: 'zeus', mimeType: 'audio/zeus zeus' } })
  live.session.sendRealtimeInput({ audioStreamEnd: true })
  await until('the rest', () => open.upstream.last.received.length === 23)
  const inputs = open.site
    .entries()
    .filter(({ kind, body }) => kind === 'decision' && body['api'] === 'live.realtimeInput')
  t.equal(inputs.length, 4, 'one decision holds for audio that follows')
  t.match(live.messages, [{ setupComplete: {} }, { error: { code: 403 } }])
  live.session.close()
})

t.test(
  'the provider that goes and the client that goes end the session for the other',
  async (t) => {
    const parts = await setUp(t)
    const live = await connect(parts)
    parts.upstream.last.socket.close(1011, 'gone')
    t.match(await until('the end', () => live.closed), { code: 1011, reason: 'UPSTREAM_FAILED' })
    const client = await RealtimeClient.open(parts.site.url, parts.site.key, PATH)
    client.socket.send(JSON.stringify({ setup: { model: MODEL } }))
    await until('the session', () => client.heard.length === 1)
    const begun = performance.now()
    parts.upstream.last.socket.once('close', () => {
      t.comment(`heard after ${Math.round(performance.now() - begun)} ms`)
    })
    client.socket.terminate()
    await until('the provider to hear of it', () => parts.upstream.last.closed !== 0)
    t.match(await parts.site.bodiesOf('outcome', 2), [
      { outcome: 'upstream_failed' },
      { outcome: 'client_closed' },
    ])
  },
)
