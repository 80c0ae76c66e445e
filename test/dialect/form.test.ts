import t from 'tap'

import { anthropic } from '../../src/dialect/anthropic.ts'
import { azureOpenai } from '../../src/dialect/azure-openai.ts'
import { openai } from '../../src/dialect/openai.ts'
import { runSteps } from '../../src/dialect/steps.ts'
import { GovernorError } from '../../src/errors.ts'
import type { Dialect, Facts } from '../../src/exchange.ts'
import { applySplices } from '../../src/upstream/splice.ts'

const B = 'b0undary'

type Field = readonly [name: string, value: string | Buffer, filename?: string]

function form(...fields: readonly Field[]): Buffer {
  const parts = fields.map(([name, value, filename]) => {
    const file = filename === undefined ? '' : `; filename="${filename}"`
    const head = `--${B}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`
    return Buffer.concat([Buffer.from(head), Buffer.from(value as string), Buffer.from('\r\n')])
  })
  return Buffer.concat([...parts, Buffer.from(`--${B}--\r\n`)])
}

function facts(path: string, body: Buffer, dialect: Dialect = openai): Promise<Facts> {
  const found = dialect.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  const { endpoint, pathModel } = found
  const route = { endpoint, dialect, mount: null, path, pathModel }
  return dialect.inspect(route, body, { jsonDepth: 64, boundary: B })
}

async function refusal(path: string, ...fields: readonly Field[]): Promise<string> {
  try {
    await facts(path, form(...fields))
    return 'accepted'
  } catch (error) {
    if (!(error instanceof GovernorError)) throw error
    return `${error.code} ${error.message.slice(error.message.indexOf(': ') + 2)}`
  }
}

const marks = ({ uninspectable }: Facts) =>
  uninspectable.map(({ kind, pointer }) => `${kind} ${pointer}`)

const WAV: Field = ['file', Buffer.from([0, 255, 13, 10]), 'secret plan.wav']
const MODEL: Field = ['model', 'whisper-1']
const png = (name: string): Field => [name, 'x', 'x.png']
const TRANSCRIBE = '/v1/audio/transcriptions'

t.test('a transcription: model, texts, and audio that cannot be read', async (t) => {
  const found = await facts(TRANSCRIBE, form(WAV, MODEL, ['prompt', 'Zoë 🦓'], ['stream', 'true']))
  const { model, models, stream, texts, inputChars } = found
  t.strictSame([model, models, stream, inputChars], ['whisper-1', ['whisper-1'], true, 6])
  t.strictSame(marks(found), ['audio /file'])
  t.strictSame(
    texts.values.map((value, index) => `${texts.pointer(index)} ${value}`),
    [
      '/file#key file',
      '/file#filename secret plan.wav',
      '/model#key model',
      '/model whisper-1',
      '/prompt#key prompt',
      '/prompt Zoë 🦓',
      '/stream#key stream',
      '/stream true',
    ],
  )
})

t.test('what is uninspectable in each form is named by what it is', async (t) => {
  const edit = await facts(
    '/v1/images/edits',
    form(png('image[]'), png('image[]'), png('mask'), ['prompt', 'p']),
  )
  t.strictSame(marks(edit), ['image /image[]', 'image /image[]', 'image /mask'])
  t.strictSame(
    marks(await facts('/v1/images/edits', form(png('image'), png('image'), ['prompt', 'p']))),
    ['image /image', 'image /image'],
  )
  t.strictSame(marks(await facts('/v1/images/variations', form(png('image')))), ['image /image'])
  t.strictSame(
    marks(await facts('/v1/files', form(['purpose', 'user_data'], ['file', 'text', 'a.txt']))),
    ['file /file'],
  )
  t.strictSame(marks(await facts('/v1/containers/c_1/files', form(['file_id', 'f_1']))), [
    'file /file_id',
  ])
  t.strictSame(marks(await facts(TRANSCRIBE, form(WAV, MODEL, ['more', 'x', 'y.bin']))), [
    'audio /file',
    'file /more',
  ])
  const speakers = form(WAV, MODEL, ['known_speaker_references[]', 'data:audio/wav;base64,AAAA'])
  t.strictSame(marks(await facts(TRANSCRIBE, speakers)), [
    'audio /file',
    'audio /known_speaker_references[]',
  ])
  t.strictSame(marks(await facts('/v1/files', form(['file', 'x', 'a.pdf']), anthropic)), [
    'file /file',
  ])
})

t.test('the path of a deployment names the model', async (t) => {
  const path = '/openai/deployments/whisper/audio/transcriptions'
  t.strictSame((await facts(path, form(WAV), azureOpenai)).models, ['whisper'])
  t.strictSame((await facts(path, form(WAV, ['model', 'gpt-5']), azureOpenai)).models, [
    'whisper',
    'gpt-5',
  ])
})

t.test('a form that two servers would take for two calls is refused', async (t) => {
  const wrong: readonly (readonly [string, readonly Field[]])[] = [
    ['MODEL_INVALID /model must be given', [WAV]],
    ['FIELD_INVALID the form must have file', [MODEL]],
    ['FIELD_INVALID /model is sent twice', [WAV, MODEL, MODEL]],
    ['FIELD_INVALID /Model is sent twice', [WAV, MODEL, ['Model', 'gpt-5']]],
    ['FIELD_INVALID /Model must be spelled model', [WAV, ['Model', 'gpt-5']]],
    ['FIELD_INVALID /model[] must be spelled model', [WAV, MODEL, ['model[]', 'gpt-5']]],
    ['FIELD_INVALID /model[0] must be spelled model', [WAV, ['model[0]', 'gpt-5']]],
    ['FIELD_INVALID /model must not be a file', [WAV, ['model', 'gpt-5', 'x']]],
    ['FIELD_INVALID /prompt must not be a file', [WAV, MODEL, ['prompt', 'x', 'x.txt']]],
    ['FIELD_INVALID /file must be a file with a filename', [MODEL, ['file', 'x']]],
    ['FIELD_INVALID /stream must be true or false', [WAV, MODEL, ['stream', 'True']]],
    ['FIELD_INVALID /prompt must be UTF-8', [WAV, MODEL, ['prompt', Buffer.from([0xff])]]],
  ]
  for (const [want, fields] of wrong) t.equal(await refusal(TRANSCRIBE, ...fields), want)
  const badName = await refusal(TRANSCRIBE, WAV, ['model', 'a\nb'])
  t.ok(badName.startsWith('MODEL_INVALID /model must begin with'), badName)
  t.equal(
    await refusal('/v1/images/edits', ['prompt', 'p'], ['image', 'x', 'x'], ['image[]', 'y', 'y']),
    'FIELD_INVALID /image must be all of the images, or none',
  )
})

// --- JSON lines ---

const line = (body: object, more: object = {}) =>
  JSON.stringify({ custom_id: 'one', method: 'POST', url: '/v1/chat/completions', body, ...more })
const say = (model: string, content: unknown, more: object = {}) => ({
  model,
  messages: [{ role: 'user', content }],
  ...more,
})
const batch = (content: string | Buffer, purpose = 'batch') =>
  form(['purpose', purpose], ['file', content, 'batch.jsonl'])
const lineRefusal = (content: string | Buffer, purpose = 'batch') =>
  refusal('/v1/files', ['purpose', purpose], ['file', content, 'batch.jsonl'])

t.test('each line of a batch is looked at as its own request', async (t) => {
  const image = [{ type: 'image_url', image_url: { url: 'https://x/' } }]
  const lines = [
    line(say('m1', 'ZEBRA', { max_tokens: 5 })),
    line({ model: 'm2', input: 'TAPIR' }, { url: '/v1/embeddings', custom_id: 'OKAPI' }),
    line(
      say('m1', image, { max_tokens: 9, tools: [{ type: 'function', function: { name: 'f' } }] }),
    ),
  ]
  const found = await facts('/v1/files', batch(`${lines.join('\n')}\n`))
  const { models, maxOutputTokens, tools, texts, stream } = found
  t.strictSame([models, maxOutputTokens, tools, stream], [['m1', 'm2'], 9, ['f'], false])
  t.strictSame(marks(found), ['image /file/3/body/messages/0/content/0/image_url'])
  const at = (text: string) => texts.pointer(texts.values.indexOf(text))
  t.equal(at('ZEBRA'), '/file/1/body/messages/0/content')
  t.equal(at('TAPIR'), '/file/2/body/input')
  t.equal(at('OKAPI'), '/file/2/custom_id')
  t.equal(texts.pointer(texts.values.length - 1), '/file/3/body/tools/0/function/name')
  const crlf = await facts('/v1/files', batch(lines.join('\r\n')))
  t.strictSame(crlf.texts.values, texts.values, 'lines that end with CRLF')
})

t.test('lines of examples are searched, whatever form they have', async (t) => {
  for (const purpose of ['fine-tune', 'evals']) {
    const content = '{"messages":[{"role":"user","content":"ZEBRA"}]}\n{"item":{"a":"TAPIR"}}'
    const { texts, models } = await facts('/v1/files', batch(content, purpose))
    t.ok(texts.values.includes('ZEBRA') && texts.values.includes('TAPIR'), purpose)
    t.strictSame(models, [])
  }
})

t.test('a purpose that a server may take for one whose lines are read is refused', async (t) => {
  for (const purpose of ['Batch', ' batch', 'batch\n', 'fine_tune', 'finetune', 'EVALS']) {
    const wanted = 'FIELD_INVALID /purpose must be written as the API does'
    t.equal(await lineRefusal('{}\n', purpose), wanted, purpose)
  }
  for (const purpose of ['user_data', 'batch_output', 'vision']) {
    t.equal(await lineRefusal('{}\n', purpose), 'accepted', purpose)
  }
})

t.test('a line that is not one strict JSON object is refused, and named', async (t) => {
  const good = line(say('m', 'a'))
  const wrong: readonly (readonly [string, string | Buffer])[] = [
    ['BODY_INVALID the file is empty', ''],
    ['BODY_INVALID line 2: it is empty', `${good}\n\n${good}`],
    ['BODY_INVALID line 2: it is empty', `${good}\n\r\n`],
    ['BODY_INVALID line 1: ', `${good}${good}`],
    ['BODY_INVALID line 1: ', `${good}\r${good}`],
    ['BODY_INVALID line 1: ', `\u{feff}${good}`],
    ['BODY_INVALID line 1: ', Buffer.from(good, 'utf16le')],
    ['BODY_INVALID line 2: ', `${good}\n[]`],
    ['BODY_INVALID line 2: ', `${good}\n{"a":1,"a":2}`],
    ['FIELD_INVALID line 1: only ', line(say('m', 'a'), { more: {} })],
    ['FIELD_INVALID line 1: /method must be POST', line(say('m', 'a'), { method: 'GET' })],
    ['FIELD_INVALID line 1: /url must be an endpoint', line(say('m', 'a'), { url: '/v1/files' })],
    ['FIELD_INVALID line 1: /url must be an endpoint', line(say('m', 'a'), { url: 'https://x/' })],
    ['FIELD_INVALID line 1: /body must be an object', line([])],
    ['FIELD_INVALID line 1: a batch has no streams', line(say('m', 'a', { stream: true }))],
    ['MODEL_INVALID line 1: /model must be given', line({ messages: [] })],
    ['FIELD_INVALID line 1: /custom_id must be', line(say('m', 'a'), { custom_id: {} })],
  ]
  for (const [want, content] of wrong) {
    const found = await lineRefusal(content)
    t.ok(found.startsWith(want), `${want} … ${found}`)
  }
  t.equal(await lineRefusal(line(say('m', 'a\u2028b'))), 'accepted', 'U+2028 is no line end')
  const many = Array.from({ length: 65 }, (_, index) => line(say(`m${index}`, 'a'))).join('\n')
  t.match(await lineRefusal(many), /^MODEL_INVALID line 65/)
})

t.test('a file of very many lines gives way to others, and has its end', async (t) => {
  const content = `${line(say('m', 'a'))}\n`.repeat(50_000)
  let turns = 0
  const count = setInterval(() => turns++, 1)
  const { texts } = await facts('/v1/files', batch(content))
  clearInterval(count)
  t.ok(texts.values.length > 50_000)
  t.ok(turns > 3, `${turns} turns`)
  t.match(await lineRefusal(`${content}{}`), /more than 50000 lines/)
})

t.test('edits change the bytes concerned, in fields and in lines', async (t) => {
  const content = `${line(say('m', 'Zoë ZEBRA'))}\n${line(say('m', 'a "ZEBRA" b'))}\n`
  for (const [body, path] of [
    [form(['prompt', '🦓 ZEBRA, ZEBRA'], WAV, MODEL), TRANSCRIBE],
    [batch(content), '/v1/files'],
  ] as const) {
    const { texts } = await facts(path, body)
    const edits = texts.values.flatMap((value, index) =>
      [...value.matchAll(/ZEBRA/g)].flatMap(({ index: start }) => {
        const sent = texts.sent!({ index, start, end: start + 5 })
        return sent === null ? [] : [{ ...sent, text: '[X]' }]
      }),
    )
    const unique = edits.filter(
      (edit, index) =>
        edits.findIndex((each) => each.index === edit.index && each.start === edit.start) === index,
    )
    const edited = runSteps(texts.edit!(unique))
    if (edited.refused !== undefined) throw new Error(edited.refused)
    const bytes = applySplices(body, edited.splices)
    t.equal(bytes.toString(), body.toString().replaceAll('ZEBRA', '[X]'), path)
    await facts(path, bytes)
  }
})

t.test('the name of a file cannot be edited', async (t) => {
  const { texts } = await facts(TRANSCRIBE, form(WAV, MODEL))
  const index = texts.values.indexOf('secret plan.wav')
  const edited = runSteps(texts.edit!([{ index, start: 0, end: 6, text: 'x' }]))
  t.strictSame(edited, { refused: 'the name of a field or file' })
})
