import { hash } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'

import OpenAI, { APIError, toFile } from 'openai'
import t from 'tap'

import { formBody } from '../dialect/samples.ts'
import { answer, type Behaviour, FakeUpstream } from '../support/fake-upstream.ts'
import { fill, smallDisk } from '../support/small-disk.ts'
import { type InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: forms pass the same policies as JSON, byte for byte, with the client people use. */

const POLICIES = `
  - { id: everything, allow: { operations: ['*'], models: ['*'] } }
  - { id: no-model, deny: { models: ['gpt-5*'] } }
  - { id: no-text, deny: { input: { words: [zebra] } } }
  - { id: mask, redact: { input: { detect: [email] } } }`
const WAV = Buffer.concat([Buffer.from('RIFF'), Buffer.from([0, 13, 10, 45, 45, 255])])

async function subject(t: Parameters<typeof startGovernor>[0], uninspectable = 'allow') {
  const upstream = await FakeUpstream.start(t)
  upstream.behaviour = answer({ text: 'hello', id: 'file-1', object: 'file' })
  const defaults = `{ uninspectable: ${uninspectable} }`
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES, defaults })
  const client = new OpenAI({ baseURL: `${site.url}/v1`, apiKey: site.key, maxRetries: 0 })
  return { upstream, site, client }
}

const wav = () => toFile(WAV, 'a.wav', { type: 'audio/wav' })
const jsonl = (...lines: readonly object[]) => {
  const text = lines.map((each, index) => {
    return JSON.stringify({
      custom_id: `c${index}`,
      method: 'POST',
      url: '/v1/chat/completions',
      body: each,
    })
  })
  return toFile(Buffer.from(text.join('\n')), 'batch.jsonl')
}
const say = (content: string, model = 'gpt-4o') => ({
  model,
  messages: [{ role: 'user', content }],
})

t.test('the OpenAI client transcribes, translates, edits images and uploads', async (t) => {
  const { upstream, site, client } = await subject(t)
  const file = await wav()
  t.equal((await client.audio.transcriptions.create({ file, model: 'whisper-1' })).text, 'hello')
  await client.audio.translations.create({ file, model: 'whisper-1', prompt: 'Zoë' })
  await client.images.edit({ image: [file, file], prompt: 'a hat', model: 'gpt-image-1' })
  await client.images.createVariation({ image: file })
  await client.files.create({ file: await jsonl(say('a'), say('b')), purpose: 'batch' })
  t.strictSame(
    upstream.received.map(({ path }) => path),
    [
      '/v1/audio/transcriptions',
      '/v1/audio/translations',
      '/v1/images/edits',
      '/v1/images/variations',
      '/v1/files',
    ],
  )
  for (const { headers, body } of upstream.received) {
    t.match(headers['content-type'], /^multipart\/form-data; boundary=/)
    t.equal(headers['content-length'], String(body.length))
    t.equal(headers.authorization?.includes(site.key), false)
  }
})

t.test('the OpenAI client makes videos, voices and skills, and asks for decisions', async (t) => {
  const { upstream, client } = await subject(t)
  const file = await wav()
  const still = await toFile(WAV, 'a.png', { type: 'image/png' })
  await client.videos.create({ prompt: 'a hat', model: 'sora-2', input_reference: still })
  await client.videos.remix('video_1', { prompt: 'two hats' })
  await client.videos.downloadContent('video_1', { variant: 'thumbnail' })
  await client.audio.voiceConsents.create({ recording: file, language: 'en-US', name: 'Zoë' })
  await client.audio.voices.create({ audio_sample: file, consent: 'cons_1', name: 'Zoë' })
  await client.skills.create({ files: [await toFile(WAV, 'skill/SKILL.md')] })
  await client.contentProvenanceChecks.create({ file: still })
  const questions = [{ type: 'predicate' as const, instructions: 'Is it polite?' }]
  await client.decisions.create({ model: 'gpt-4o', input: 'hello', questions })
  t.strictSame(
    upstream.received.map(({ method, path }) => `${method} ${path}`),
    [
      'POST /v1/videos',
      'POST /v1/videos/video_1/remix',
      'GET /v1/videos/video_1/content?variant=thumbnail',
      'POST /v1/audio/voice_consents',
      'POST /v1/audio/voices',
      'POST /v1/skills',
      'POST /v1/content_provenance_checks',
      'POST /v1/decisions',
    ],
  )
  const count = upstream.received.length
  const prompt = 'a zebra'
  t.equal(await refused(client.videos.create({ prompt, model: 'sora-2' })), 'no-text')
  t.equal(await refused(client.videos.create({ prompt: 'a', model: 'gpt-5' })), 'no-model')
  t.equal(
    await refused(client.audio.voices.create({ type: 'prompt', name: 'Z', prompt })),
    'no-text',
  )
  const asked = client.decisions.create({ model: 'gpt-4o', input: prompt, questions })
  t.equal(await refused(asked), 'no-text')
  const parts = client.uploads.create({
    bytes: 9,
    filename: 'a',
    mime_type: 'text/plain',
    purpose: 'batch',
  })
  await t.rejects(parts, { status: 403, message: /upload it whole to \/v1\/files/ })
  const secret = client.realtime.clientSecrets.create({ session: { type: 'realtime' } })
  await t.rejects(secret, { status: 403, message: /goes around Governor/ })
  t.equal(upstream.received.length, count, 'and nothing of it reached the provider')
})

t.test('a form goes on byte for byte, and the entry has its hash and its marks', async (t) => {
  const { upstream, site } = await subject(t)
  // As openai before version 5 sends it: with an empty line after the last boundary.
  const former = Buffer.concat([
    formBody({ model: 'whisper-1' }, { name: 'file', content: WAV }),
    Buffer.from('\r\n'),
  ])
  const sent = await site.send({
    path: '/v1/audio/transcriptions',
    headers: { 'content-type': 'multipart/form-data; boundary=sample-boundary' },
    body: former,
  })
  t.equal(sent.status, 200)
  t.ok(upstream.received[0]?.body.equals(former))
  upstream.received.length = 0
  const body = formBody({ model: 'whisper-1', prompt: 'hello' }, { name: 'file', content: WAV })
  const { headers, status } = await site.send({
    path: '/v1/audio/transcriptions',
    headers: { 'content-type': 'multipart/form-data; boundary=sample-boundary' },
    body,
  })
  t.equal(status, 200)
  t.ok(upstream.received[0]?.body.equals(body))
  const entries = await site.entriesOf(String(headers['x-governor-request-id']), 2)
  const { operation, api } = entries[0]!.body
  t.strictSame([operation, api], ['transcription', 'audio.transcriptions'])
  const told = JSON.stringify(entries[0]!.body)
  t.ok(told.includes(upstream.received[0]!.sha256), 'the hash of what was forwarded')
  t.match(told, /"audio"/)
})

/** The policy that refused a call. */
const refused = async (call: Promise<unknown>) =>
  call.then(
    () => 'passed',
    (error: unknown) =>
      error instanceof APIError ? error.headers?.get('x-governor-policy') : error,
  )

t.test('policies on models and texts refuse forms, and nothing reaches the provider', async (t) => {
  const { upstream, client } = await subject(t)
  const file = await wav()
  const transcribe = client.audio.transcriptions
  t.equal(await refused(transcribe.create({ file, model: 'gpt-5-transcribe' })), 'no-model')
  t.equal(await refused(transcribe.create({ file, model: 'm', prompt: 'a zebra' })), 'no-text')
  const named = await toFile(WAV, 'zebra.wav')
  t.equal(await refused(transcribe.create({ file: named, model: 'm' })), 'no-text', 'a file name')
  const batch = async (...lines: readonly object[]) =>
    client.files.create({ file: await jsonl(...lines), purpose: 'batch' })
  t.equal(await refused(batch(say('a'), say('b', 'gpt-5'))), 'no-model', 'a model in line 2')
  t.equal(await refused(batch(say('a'), say('the zebra'))), 'no-text', 'a text in line 2')
  t.equal(upstream.received.length, 0)
})

t.test('a transcript in plain text arrives as it is, however it begins', async (t) => {
  const { upstream, site } = await subject(t)
  const form = formBody(
    { model: 'whisper-1', response_format: 'text', stream: 'true' },
    { name: 'file', content: WAV },
  )
  const headers = { 'content-type': 'multipart/form-data; boundary=sample-boundary' }
  for (const words of [
    'data is all there is',
    'event: a launch\n',
    '[Music] hello',
    'data',
    '\n',
  ]) {
    upstream.behaviour = (_received, response) => {
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
      // Cut behind its first letter.
      response.write(words.slice(0, 1))
      setImmediate(() => response.end(words.slice(1)))
    }
    const got = await site.send({ path: '/v1/audio/transcriptions', headers, body: form })
    t.equal(got.text, words)
    const [, outcome] = await site.entriesOf(String(got.headers['x-governor-request-id']), 2)
    t.equal(outcome!.body['outcome'], 'complete', words)
  }
})

t.test('values are masked in fields and in the lines of a batch', async (t) => {
  const { upstream, site, client } = await subject(t)
  const file = await wav()
  await client.audio.transcriptions.create({ file, model: 'm', prompt: 'by jo@example.com!' })
  await client.files.create({
    file: await jsonl(say('a'), say('to jo@example.com')),
    purpose: 'batch',
  })
  for (const { body, headers } of upstream.received) {
    t.notMatch(body.toString('latin1'), 'jo@example.com')
    t.equal(headers['content-length'], String(body.length))
  }
  t.match(upstream.received[0]!.body.toString('latin1'), /by \[EMAIL_1\]!/)
  t.ok(upstream.received[0]!.body.includes(WAV), 'the file is as it was')
  const answered = await site.send({
    path: '/v1/files',
    headers: { 'content-type': 'multipart/form-data; boundary=sample-boundary' },
    body: formBody(
      { purpose: 'user_data', user: 'jo@example.com' },
      { name: 'file', content: WAV },
    ),
  })
  t.equal(answered.headers['x-governor-changed'], 'redacted')
})

t.test('what cannot be read is refused by default where a policy is about texts', async (t) => {
  const { upstream, site, client } = await subject(t, 'deny')
  const batch = await client.files.create({ file: await jsonl(say('a')), purpose: 'batch' })
  t.equal(batch.id, 'file-1', 'the lines of a batch can be read')
  const input = { input_file_id: 'file-1', endpoint: '/v1/chat/completions' } as const
  const calls = [
    client.audio.transcriptions.create({ file: await wav(), model: 'm' }),
    client.files.create({ file: await wav(), purpose: 'user_data' }),
    client.batches.create({ ...input, completion_window: '24h' }),
  ]
  const statuses = calls.map((call) =>
    Promise.resolve(call).then(
      () => 200,
      (error: unknown) => (error instanceof APIError ? Number(error.status) : 0),
    ),
  )
  t.strictSame(await Promise.all(statuses), [403, 403, 403])
  t.equal(upstream.received.length, 1)
  t.equal((await site.send({ path: '/v1/uploads', body: {} })).status, 403, 'uploads in parts')
})

t.test('a client that leaves in the middle of an upload leaves nothing behind', async (t) => {
  const { upstream, site } = await subject(t)
  const body = formBody({ model: 'm' }, { name: 'file', content: WAV })
  const controller = new AbortController()
  const cut = fetch(`${site.url}/v1/audio/transcriptions`, {
    method: 'POST',
    headers: {
      'content-type': 'multipart/form-data; boundary=sample-boundary',
      authorization: `Bearer ${site.key}`,
    },
    body: new ReadableStream({
      start(stream) {
        stream.enqueue(body.subarray(0, 60))
        setTimeout(() => controller.abort(), 50)
      },
    }),
    signal: controller.signal,
    duplex: 'half',
  })
  await t.rejects(cut)
  while ((await site.metric('governor_inflight_bytes')) > 0)
    await new Promise((go) => setTimeout(go, 10))
  t.equal(upstream.received.length, 0)
})

const MULTIPART = { 'content-type': 'multipart/form-data; boundary=sample-boundary' }
const TRANSCRIBE = '/v1/audio/transcriptions'
const LARGE = Buffer.alloc(3_000_000, 'RIFF----sample-boundary--\r\n')

/** Far less memory than one large form takes. */
async function small(
  t: Parameters<typeof startGovernor>[0],
  { behaviour, audit }: { behaviour?: Behaviour; audit?: string } = {},
) {
  const upstream = await FakeUpstream.start(t, behaviour ?? answer({ text: 'hello' }))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    policies: POLICIES,
    defaults: '{ uninspectable: allow }',
    maximums: '{ body: 256KiB, decoded: 256KiB, in_flight: 2MiB, upload: 4MiB, spooled: 8MiB }',
    more: 'retry: { attempts: 1, wait_max: 10ms }',
    ...(audit !== undefined && { audit }),
  })
  return { upstream, site }
}

/** Nothing is held, in memory or on disk. */
async function isClean(site: InProcess): Promise<void> {
  await until('everything to be given back', async () => {
    const names = [
      'governor_inflight_bytes',
      'governor_spooled_bytes',
      'governor_inflight_requests',
    ]
    const held = await Promise.all(names.map((name) => site.metric(name)))
    return held.every((each) => each === 0)
  })
  const left = readdirSync(site.directory).filter((name) => name.includes('spool'))
  if (left.length > 0) throw new Error(`left: ${left.join()}`)
}

t.test(
  'a form larger than all memory for bodies goes through the disk, as any other',
  async (t) => {
    const { upstream, site } = await small(t)
    // Once a line ends before what looks like the boundary, it is one.
    const content = Buffer.from(LARGE.toString('latin1').replaceAll('\r\n', '\n'), 'latin1')
    const parts = (prompt: string, name = 'file') =>
      formBody({ model: 'whisper-1', prompt }, { name, content })
    const send = (body: Buffer) => site.send({ path: TRANSCRIBE, headers: MULTIPART, body })
    const safe = Buffer.from(
      content.toString('latin1').replaceAll('--sample', '-+sample'),
      'latin1',
    )
    const form = formBody({ model: 'whisper-1', prompt: 'hi' }, { name: 'file', content: safe })

    const passed = await send(form)
    t.equal(passed.status, 200, passed.text)
    t.equal(upstream.last?.sha256, hash('sha256', form))
    t.equal(upstream.last?.headers['content-length'], String(form.length))
    const [decision] = await site.entriesOf(String(passed.headers['x-governor-request-id']), 2)
    t.strictSame(decision!.body['received'], { bytes: form.length, sha256: hash('sha256', form) })
    t.strictSame(decision!.body['forwarded'], { sha256: hash('sha256', form) })

    const denied = await send(
      formBody({ model: 'whisper-1', prompt: 'a zebra' }, { name: 'file', content: safe }),
    )
    t.equal(denied.headers['x-governor-policy'], 'no-text')
    t.equal(
      (await send(parts('hi'))).headers['x-governor-code'],
      'BODY_INVALID',
      'a boundary in it',
    )

    const masked = await send(
      formBody({ model: 'm', prompt: 'by jo@example.com' }, { name: 'file', content: safe }),
    )
    t.equal(masked.headers['x-governor-changed'], 'redacted')
    const wanted = formBody({ model: 'm', prompt: 'by [EMAIL_1]' }, { name: 'file', content: safe })
    t.equal(upstream.last?.sha256, hash('sha256', wanted))
    const [told] = await site.entriesOf(String(masked.headers['x-governor-request-id']), 2)
    t.strictSame(told!.body['forwarded'], { sha256: hash('sha256', wanted) })

    const lines = await jsonl(...Array.from({ length: 20_000 }, () => say('a')))
    const client = new OpenAI({ baseURL: `${site.url}/v1`, apiKey: site.key, maxRetries: 0 })
    const batch = client.files.create({ file: lines, purpose: 'batch' })
    await t.rejects(batch, /413/, 'lines are read, and so have to fit')
    const few = await jsonl(...Array.from({ length: 1500 }, () => say('a')), say('a zebra'))
    t.equal(await refused(client.files.create({ file: few, purpose: 'batch' })), 'no-text')
    await isClean(site)
  },
)

t.test('a form of unknown length, one that is too long, and one that is sent again', async (t) => {
  const { upstream, site } = await small(t)
  const safe = Buffer.alloc(1_500_000, 7)
  const form = formBody({ model: 'm' }, { name: 'file', content: safe })
  let isFirst = true
  upstream.behaviour = (received, response) => {
    const status = isFirst ? 503 : 200
    isFirst = false
    return answer({ text: 'hello' }, { status })(received, response)
  }
  const stream = (...chunks: readonly Buffer[]) =>
    fetch(`${site.url}${TRANSCRIBE}`, {
      method: 'POST',
      headers: { ...MULTIPART, authorization: `Bearer ${site.key}` },
      body: new ReadableStream({
        start(controller) {
          for (const chunk of chunks) controller.enqueue(chunk)
          controller.close()
        },
      }),
      duplex: 'half',
    })
  t.equal((await stream(form.subarray(0, 99), form.subarray(99))).status, 200)
  t.strictSame(
    upstream.received.map(({ sha256 }) => sha256),
    [hash('sha256', form), hash('sha256', form)],
    'tried again, all of it',
  )
  const long = formBody({ model: 'm' }, { name: 'file', content: Buffer.alloc(5_000_000) })
  const declared = await site.send({ path: TRANSCRIBE, headers: MULTIPART, body: long })
  t.equal(declared.status, 413)
  const undeclared = await stream(long).catch(() => null)
  t.ok(undeclared === null || undeclared.status === 413)
  t.equal(upstream.received.length, 2)
  await isClean(site)
})

t.test('an upload that ends early, at either side, leaves nothing on disk', async (t) => {
  const { upstream, site } = await small(t, {
    behaviour: (_received, response) => void response.socket?.resetAndDestroy(),
  })
  const form = formBody({ model: 'm' }, { name: 'file', content: Buffer.alloc(2_000_000) })
  const failed = await site.send({ path: TRANSCRIBE, headers: MULTIPART, body: form })
  t.equal(failed.status, 502)
  await isClean(site)
  const controller = new AbortController()
  const cut = fetch(`${site.url}${TRANSCRIBE}`, {
    method: 'POST',
    headers: { ...MULTIPART, authorization: `Bearer ${site.key}` },
    body: new ReadableStream({
      start: (stream) => stream.enqueue(form.subarray(0, 1_200_000)),
    }),
    signal: controller.signal,
    duplex: 'half',
  })
  await until('some of it to be on disk', async () => {
    return (await site.metric('governor_spooled_bytes')) > 0
  })
  controller.abort()
  await t.rejects(cut)
  await isClean(site)
  t.ok(upstream.received.length <= 2)
})

t.test(
  'a disk that fills while a form arrives refuses it, and the log still takes it',
  async (t) => {
    // A little more than what forms leave on a disk.
    const disk = smallDisk(t, '67m')
    if (disk === null) return t.comment('Nobody here may mount a small disk')
    const { upstream, site } = await small(t, { audit: `{ path: '${disk}/audit.db' }` })
    const form = formBody({ model: 'm' }, { name: 'file', content: Buffer.alloc(2_000_000) })
    const passed = await site.send({ path: TRANSCRIBE, headers: MULTIPART, body: form })
    t.equal(passed.status, 200, passed.text)

    const socket = connect(Number(new URL(site.url).port), '127.0.0.1')
    const head = [
      `POST ${TRANSCRIBE} HTTP/1.1`,
      'host: localhost',
      `content-type: ${MULTIPART['content-type']}`,
      `content-length: ${form.length}`,
      `authorization: Bearer ${site.key}`,
    ]
    socket.write(`${head.join('\r\n')}\r\n\r\n`)
    socket.write(form.subarray(0, 400_000))
    await until('some of it to be on disk', async () => {
      return (await site.metric('governor_spooled_bytes')) > 0
    })
    fill(join(disk, 'theirs'), 3_000_000)
    const heard: Buffer[] = []
    socket.on('data', (chunk) => heard.push(chunk)).on('error', () => {})
    socket.write(form.subarray(400_000))
    const text = () => Buffer.concat(heard).toString()
    await until('the refusal', () => text().includes('SPOOL_UNAVAILABLE'))
    t.match(text(), /^HTTP\/1\.1 503 /)
    socket.destroy()
    await until('it to be recorded', () =>
      site.entries().some(({ body }) => body.code === 'SPOOL_UNAVAILABLE'),
    )
    t.equal((await site.send({ body: say('hi') })).status, 200, 'other calls go on')
    const before = upstream.received.length
    const refusal = await site.send({ path: TRANSCRIBE, headers: MULTIPART, body: form })
    t.equal(refusal.headers['x-governor-code'], 'SPOOL_UNAVAILABLE')
    t.equal(upstream.received.length, before)

    rmSync(join(disk, 'theirs'))
    t.equal((await site.send({ path: TRANSCRIBE, headers: MULTIPART, body: form })).status, 200)
    await isClean(site)
    t.strictSame(
      readdirSync(disk).filter((name) => name.includes('spool')),
      [],
    )
  },
)
