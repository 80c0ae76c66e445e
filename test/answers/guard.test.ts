import t from 'tap'

import { anthropic } from '../../src/dialect/anthropic.ts'
import { bedrock } from '../../src/dialect/bedrock.ts'
import { gemini } from '../../src/dialect/gemini.ts'
import { ollama } from '../../src/dialect/ollama.ts'
import { openai } from '../../src/dialect/openai.ts'
import type { Dialect } from '../../src/exchange.ts'
import { chatEvent, DONE } from '../support/fake-upstream.ts'
import { guardOf, outputRules, through } from '../support/guard.ts'
import { Seeded } from '../support/seeded.ts'

const POLICIES = `
  - { id: mask, redact: { output: { detect: [email, credit_card], matches: 'ZX-[0-9]{4}', words: [falcon] } } }
  - { id: codename, deny: { output: { matches: '(?i)project[- ]zeus' } } }`

/** The texts of a chat stream by choice, joined as an SDK would. */
function said(stream: string): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const line of stream.split('\n')) {
    if (!line.startsWith('data: {')) continue
    const { choices = [] } = JSON.parse(line.slice(6)) as {
      choices?: { index: number; delta: Record<string, unknown> }[]
    }
    for (const { index, delta } of choices) {
      for (const [field, value] of Object.entries(delta)) {
        if (typeof value === 'string')
          texts[`${index}.${field}`] = (texts[`${index}.${field}`] ?? '') + value
      }
    }
  }
  return texts
}

function piecesOf(text: string, random: () => number, most = 6): string[] {
  const pieces: string[] = []
  for (let at = 0; at < text.length;) {
    let to = at + 1 + Math.floor(random() * most)
    if (/[\ud800-\udbff]/.test(text.charAt(to - 1))) to++
    pieces.push(text.slice(at, to))
    at = to
  }
  return pieces
}

const PROSE =
  'Dear reader, meet us at noon. Write to jane.doe@example.com or JANE.DOE@example.com today; ' +
  'the card 4111 1111 1111 1111 is a test, 4111 1111 1111 1112 is none. A falcon, no falconer. ZX-1234, ' +
  'ZX-12345? mail\u200bbox@exam\u200bple.org — naïve Köln 東京 😀 done. Again jane.doe@example.com.'
const MASKED =
  'Dear reader, meet us at noon. Write to [EMAIL_1] or [EMAIL_2] today; ' +
  'the card [CREDIT_CARD_1] is a test, 4111 1111 1111 1112 is none. A [WORD_1], no falconer. [MATCH_1], ' +
  '[MATCH_1]5? [EMAIL_3] — naïve Köln 東京 😀 done. Again [EMAIL_1].'

const base64 = (text: string) => Buffer.from(text).toString('base64')

t.test('what is encoded in a stream is masked as a whole however it is cut', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(11)
  const encoded = base64('mail jane.doe@example.com at noon or later')
  const text = `See ${encoded} and fal%63on%21, f a l c o n too; 66 61 6c 63 6f 6e. Nothing else here.`
  for (let round = 0; round < 40; round++) {
    const pieces = round === 0 ? Array.from(text) : piecesOf(text, () => seed.next(), round)
    const sent = pieces.map((piece) => chatEvent(piece))
    const out = through(guardOf(rules), [...sent, DONE])
    t.equal(
      said(out)['0.content'],
      'See [EMAIL_1] and [WORD_1]%21, [WORD_2] too; [WORD_3]. Nothing else here.',
    )
  }
})

t.test('a stream is cut before a word that is forbidden, however it is encoded', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  for (const written of [
    base64('all about project zeus, whatever it is'),
    'project z%65us',
    'project&#32;&#x7a;eus',
    Buffer.from('project-zeus').toString('hex'),
    'p r o j e c t - z e u s',
    base64(base64('project zeus')),
  ]) {
    const guard = guardOf(rules)
    const out = through(
      guard,
      Array.from(`It is ${written}. So there.`, (each) => chatEvent(each)),
    )
    t.equal(guard.failure?.code, 'POLICY_DENIED', written)
    t.equal('It is '.startsWith(said(out)['0.content'] ?? ''), true, JSON.stringify(said(out)))
    const whole = guardOf(rules)
    const answer = { choices: [{ index: 0, message: { content: `It is ${written}.` } }] }
    await t.rejects(whole.whole(Buffer.from(JSON.stringify(answer)), 'application/json'), {
      code: 'POLICY_DENIED',
    })
  }
})

t.test('masks the same text the same way however it is cut into events', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(7)
  const random = () => seed.next()
  for (let round = 0; round < 60; round++) {
    const events = piecesOf(PROSE, random, round + 1).map((piece) => chatEvent(piece))
    const out = through(guardOf(rules), [...events, chatEvent('', 'stop'), DONE])
    t.strictSame(said(out), { '0.content': MASKED }, `round ${round}`)
    t.ok(out.endsWith(`${chatEvent('', 'stop')}${DONE}`))
  }
})

t.test('reads streams as they look, and through marks, however they are cut', async (t) => {
  const text =
    'Дорогой jаnе.dое@ехаmрlе.соm, F\u0336a\u0336l\u0336c\u0336o\u0336n\u0336 и fаlсоn, féłcοn и fаlсоnеr, ' +
    'ZХ-1234 и 4\u0336111-1\u0301\u0336111-1111-1111 конец. '
  const want =
    'Дорогой [EMAIL_1], [WORD_1] и [WORD_2], féłcοn и fаlсоnеr, ' +
    '[MATCH_1] и [CREDIT_CARD_1] конец. '
  const rules = outputRules(t.testdir(), POLICIES, { maximums: '{}\nlook_alikes: latin' })
  const seed = new Seeded(17)
  for (let round = 0; round < 40; round++) {
    const pieces = piecesOf(text.repeat(2), () => seed.next(), round + 1)
    const events = pieces.map((piece) => chatEvent(piece))
    const out = through(guardOf(rules), [...events, chatEvent('', 'stop'), DONE])
    t.strictSame(said(out), { '0.content': want.repeat(2) }, `round ${round}`)
  }
})

function element(text: string, more = ''): string {
  return `{"candidates": [{"content": {"parts": [{"text": ${JSON.stringify(text)}}]}${more}}],"x":"a\\"}]"}`
}

function list(texts: readonly string[]): string {
  const elements = texts.map((text) => element(text)).join('\n,\r\n')
  return `[${elements}\n,\n${element('', ',"finishReason":"STOP"')}]\n`
}

t.test('Gemini’s streams that are one JSON array are looked at as streams are', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const looked = async (body: string) => {
    const guard = guardOf(rules, { dialect: gemini, api: 'streamGenerateContent' })
    const type = 'application/json; charset=UTF-8'
    return guard.whole(Buffer.from(body), type).then(String, (error: Error) => error.message)
  }
  const clean = list(['Hello ', 'there', '😀'])
  t.equal(await looked(clean), clean)
  t.equal(await looked('[]'), '[]')
  const seed = new Seeded(23)
  for (let round = 0; round < 10; round++) {
    const pieces = piecesOf(PROSE, () => seed.next(), round + 1)
    const out = JSON.parse(await looked(list(pieces))) as {
      candidates: { content: { parts: { text: string }[] } }[]
    }[]
    t.equal(out.map(({ candidates }) => candidates[0]!.content.parts[0]!.text).join(''), MASKED)
  }
  t.match(await looked(list(['about proj', 'ect', ' z\u0336eu', 's, and'])), /codename/)
  for (const odd of [
    list(['a']).replace(',', ''),
    list(['a']).replace(',\n', ',,'),
    list(['a']).slice(0, -2),
    `${list(['a'])}x`,
    `\ufeff${list(['a'])}`,
    '[{"a":1},"project zeus"]',
    '[{"a":1},[]]',
    '[{"a":1,"a":2}]',
    '[{"a":1},]',
    '[{"a":"',
    '[',
  ]) {
    t.match(await looked(odd), /cannot be read/, odd)
  }
})

t.test('the same bytes come out however the bytes of a stream are cut', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(11)
  const random = () => seed.next()
  const bytes = Buffer.from(
    [...piecesOf(PROSE, random).map((piece) => chatEvent(piece)), chatEvent('', 'stop'), DONE].join(
      '',
    ),
  )
  const want = through(guardOf(rules), [bytes])
  for (let round = 0; round < 40; round++) {
    const pieces: Buffer[] = []
    for (let at = 0; at < bytes.length;) {
      const to = at + 1 + Math.floor(random() * (1 + round * 20))
      pieces.push(bytes.subarray(at, to))
      at = to
    }
    t.equal(through(guardOf(rules), pieces), want)
  }
})

t.test('a stream in which nothing is found comes out byte for byte', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(3)
  const random = () => seed.next()
  const text = 'Nothing here: 12 monkeys at 5 pm, e-mail me (not). '.repeat(20)
  const stream = [
    ': keep-alive\n\n',
    ...piecesOf(text, random).map((piece) => chatEvent(piece)),
    chatEvent('', 'stop'),
    DONE,
  ]
  t.equal(through(guardOf(rules), stream), stream.join(''))
})

t.test('never lets out the beginning of what a deny is about', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const seed = new Seeded(5)
  const random = () => seed.next()
  for (let round = 0; round < 40; round++) {
    const before = 'words before '.repeat(Math.floor(random() * 20))
    const stream = piecesOf(`${before}the Project Zeus begins`, random, 1 + (round % 9)).map(
      (each) => chatEvent(each),
    )
    const guard = guardOf(rules)
    const out = through(guard, [...stream, chatEvent('', 'stop'), DONE])
    t.equal(guard.failure?.code, 'POLICY_DENIED')
    t.equal(guard.failure?.policy, 'codename')
    t.notMatch(said(out)['0.content'] ?? '', /pro/i)
    t.strictSame(guard.policies, [
      { id: 'codename', mode: 'enforce', result: 'denied', why: 'output.matches' },
    ])
  }
})

t.test('text that nothing can begin in any more does not wait for the end', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const guard = guardOf(rules)
  const text = 'all is calm on this fine morning '.repeat(20)
  const out = guard.chunk(Buffer.from(chatEvent(text) + chatEvent('x'))).toString()
  t.equal(out, '')
  const more = guard.chunk(Buffer.from(chatEvent(text))).toString()
  t.equal(more, chatEvent(text) + chatEvent('x'))
})

function sse(data: object, name = ''): string {
  return `${name === '' ? '' : `event: ${name}\n`}data: ${JSON.stringify(data)}\n\n`
}

function chunk(index: number, delta: object, finish: string | null = null): string {
  return sse({ choices: [{ index, delta, finish_reason: finish }] })
}

t.test('choices and fields that interleave are masked apart, each in its order', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const out = through(guardOf(rules), [
    chunk(0, { role: 'assistant', content: '' }),
    chunk(0, { reasoning_content: 'mail jane.' }),
    chunk(1, { content: 'my card is 4111 11' }),
    chunk(0, { content: 'ja' }),
    chunk(0, { reasoning_content: 'doe@example.com?' }),
    chunk(1, { content: '11 1111 1111' }, 'stop'),
    chunk(0, { content: 'ne@example.com' }),
    chunk(0, {}, 'stop'),
    DONE,
  ])
  t.strictSame(said(out), {
    '0.role': 'assistant',
    '0.content': '[EMAIL_1]',
    '0.reasoning_content': 'mail [EMAIL_2]?',
    '1.content': 'my card is [CREDIT_CARD_1]',
  })
})

const textDelta = (index: number, text: string) =>
  sse(
    { type: 'content_block_delta', index, delta: { type: 'text_delta', text } },
    'content_block_delta',
  )

t.test(
  'texts of blocks are one in the order of the blocks: such as take turns are refused',
  async (t) => {
    const rules = outputRules(t.testdir(), POLICIES)
    const read = (...deltas: readonly string[]) => {
      const guard = guardOf(rules, { dialect: anthropic, api: 'messages' })
      return [
        through(guard, [...deltas, sse({ type: 'message_stop' }, 'message_stop')]),
        guard.failure,
      ]
    }
    const [text, none] = read(textDelta(0, 'a fal'), textDelta(1, 'con'), textDelta(2, ' b'))
    t.equal(none, null)
    t.notMatch(text, 'fal')
    const [out, failure] = read(textDelta(0, 'a fal'), textDelta(1, ' '), textDelta(0, 'con b'))
    t.match(failure, { code: 'POLICY_DENIED', message: /blocks that take turns/ })
    t.notMatch(out, 'con b')
  },
)

const candidate = (...parts: readonly object[]) =>
  Buffer.from(sse({ candidates: [{ content: { role: 'model', parts } }] }))

t.test(
  'what Gemini thinks and what it says are two texts, and the first waits for no more',
  async (t) => {
    const guard = guardOf(outputRules(t.testdir(), POLICIES), {
      dialect: gemini,
      api: 'streamGenerateContent',
    })
    const first = guard.chunk(candidate({ text: 'I am done, fal', thought: true })).toString()
    const second = guard.chunk(candidate({ text: 'falcon here. ' })).toString()
    t.match(first + second, /I am done, fal"/)
    const [third, fourth] = [
      candidate({ text: 'a falc', thought: true }, { text: 'fal' }),
      candidate({ text: 'con.' }),
    ]
    const rest = through(guard, [third, fourth])
    t.match(rest, /\[WORD_1\] here/)
    t.match(rest, /a falc"/)
    t.notMatch(rest, /con\./)
    t.equal(guard.failure, null)
  },
)

t.test(
  'a message of Anthropic is masked, its tools too, and signed thinking is refused',
  async (t) => {
    const rules = outputRules(t.testdir(), POLICIES)
    const block = (index: number, type: string, more: object) =>
      sse(
        { type: 'content_block_start', index, content_block: { type, ...more } },
        'content_block_start',
      )
    const delta = (index: number, more: object) =>
      sse({ type: 'content_block_delta', index, delta: more }, 'content_block_delta')
    const stop = (index: number) => sse({ type: 'content_block_stop', index }, 'content_block_stop')
    const end = sse({ type: 'message_stop' }, 'message_stop')
    const out = through(guardOf(rules, { dialect: anthropic, api: 'messages' }), [
      sse({ type: 'message_start', message: { id: 'm', content: [] } }, 'message_start'),
      block(0, 'text', { text: '' }),
      delta(0, { type: 'text_delta', text: 'Ask jane@exam' }),
      sse({ type: 'ping' }, 'ping'),
      delta(0, { type: 'text_delta', text: 'ple.com now' }),
      stop(0),
      block(1, 'tool_use', { id: 'tu', name: 'mail', input: {} }),
      delta(1, { type: 'input_json_delta', partial_json: '{"to":"jane@' }),
      delta(1, { type: 'input_json_delta', partial_json: 'example.com"}' }),
      stop(1),
      end,
    ])
    const deltas = [...out.matchAll(/^data: (.*)$/gm)].map(([, data = '']) => {
      return (JSON.parse(data) as { delta?: { text?: string; partial_json?: string } }).delta
    })
    t.equal(
      deltas.map((each) => each?.text ?? each?.partial_json ?? '').join(''),
      'Ask [EMAIL_1] now{"to":"[EMAIL_1]"}',
    )
    t.ok(out.endsWith(end))
    const signed = guardOf(rules, { dialect: anthropic, api: 'messages' })
    const refused = through(signed, [
      block(0, 'thinking', { thinking: '' }),
      delta(0, { type: 'thinking_delta', thinking: 'it is jane@example.com' }),
      delta(0, { type: 'signature_delta', signature: 'c2ln' }),
      stop(0),
      end,
    ])
    t.equal(signed.failure?.code, 'POLICY_DENIED')
    t.notMatch(refused, /jane/)
  },
)

function part(text: string, finishReason?: string): string {
  const content = { parts: [{ text }], role: 'model' }
  return sse({ candidates: [{ content, index: 0, finishReason }] })
}

t.test('an answer of Gemini is masked part by part', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const guard = guardOf(rules, { dialect: gemini, api: 'streamGenerateContent' })
  const out = through(guard, [part('Write to jane@'), part('example.com'), part(' soon.', 'STOP')])
  const texts = [...out.matchAll(/"text":"([^"]*)"/g)].map(([, text]) => text)
  t.equal(texts.join(''), 'Write to [EMAIL_1] soon.')
})

t.test('a stream that is read in no known way is refused', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  for (const pieces of [
    ['ja\n', 'ne@example.com\n\n'],
    [chatEvent('fine'), 'x: jane@\n\n'],
    ['data: [1]\n\n'],
    ['data: {"choices":[{"delta":{"content":"a","content":"b"}}]}\n\n'],
    ['data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n'],
  ]) {
    const guard = guardOf(rules)
    t.notMatch(through(guard, pieces), /ja|ne@|\[1\]|"b"|ud83d/)
    t.equal(guard.failure?.code, 'POLICY_DENIED', pieces.join(''))
  }
  const lines = guardOf(rules, { dialect: ollama, api: 'api.chat' })
  t.equal(through(lines, ['data: {"message":{"content":"hi"}}\n\n']), '')
  t.match(lines.failure?.message, /cannot be read/)
})

t.test('the name of a tool that comes in pieces is one text', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const named = (name: string) => chunk(0, { tool_calls: [{ index: 0, function: { name } }] })
  const guard = guardOf(rules)
  const out = through(guard, [named('project-'), named('zeus'), chunk(0, {}, 'tool_calls'), DONE])
  t.equal(guard.failure?.code, 'POLICY_DENIED')
  t.notMatch(out, /project/)
})

function event(type: string, rest: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`
}

t.test('texts of blocks that follow each other are one', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const begin = (index: number, type = 'text') =>
    event('content_block_start', { index, content_block: { type, text: '' } })
  const said = (index: number, text: string) =>
    event('content_block_delta', { index, delta: { type: 'text_delta', text } })
  const stop = (index: number) => event('content_block_stop', { index })
  const end = event('message_stop', {})
  const look = (pieces: readonly string[]) => {
    const guard = guardOf(rules, { dialect: anthropic, api: 'messages' })
    return { out: through(guard, pieces), failure: guard.failure }
  }
  const mail = [begin(0), said(0, 'to jane@exa'), stop(0), begin(1), said(1, 'mple.com!'), stop(1)]
  const masked = [begin(0), said(0, 'to [EMAIL_1]'), stop(0), begin(1), said(1, '!'), stop(1)]
  t.equal(look([...mail, end]).out, [...masked, end].join(''))
  const word = [begin(0), said(0, 'project '), stop(0), begin(1), said(1, 'zeus'), stop(1), end]
  t.match(look(word), { failure: { policy: 'codename' } })
  const tool = begin(1, 'tool_use')
  const before = look([begin(0), said(0, 'project '), stop(0), tool]).out
  t.ok(before.includes(tool), 'what follows a text that is over does not wait')
})

t.test('arguments of tools are read with their numbers and whatever they are called', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const looked = (dialect: Dialect, api: string, body: string) =>
    guardOf(rules, { dialect, api })
      .whole(Buffer.from(body), 'application/json')
      .then(String, (error: Error) => error.message)
  for (const [dialect, api, body] of [
    [
      anthropic,
      'messages',
      '{"content":[{"type":"tool_use","name":"f","input":{"a":[4111111111111111]}}],"x":1}',
    ],
    [
      gemini,
      'generateContent',
      '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":4.111111111111111e15}}}]}}]}',
    ],
    [
      ollama,
      'api.chat',
      '{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":4111111111111111}}}]},"total_duration":4111111111111111}',
    ],
    [
      bedrock,
      'converse',
      '{"output":{"message":{"content":[{"toolUse":{"name":"f","input":{"a":4111111111111111}}}]}}}',
    ],
  ] as const) {
    const want = body.replace(/4111111111111111(?=[\]}]+)|4\.1+e15/, '"[CREDIT_CARD_1]"')
    t.equal(await looked(dialect, api, body), want)
  }
  const hidden = '{"content":[{"type":"tool_use","name":"f","input":{"embedding":"project zeus"}}]}'
  t.match(await looked(anthropic, 'messages', hidden), /codename/)
  const vectors = '{"data":[{"embedding":"project zeus"}]}'
  t.equal(await looked(openai, 'embeddings', vectors), vectors)
})

t.test('what is held back has an end, however the text is stretched', async (t) => {
  const rules = outputRules(t.testdir(), POLICIES)
  const guard = guardOf(rules)
  const invisible = chatEvent('\u200b'.repeat(20_000))
  let sent = 0
  for (let round = 0; round < 100 && guard.failure === null; round++) {
    sent +=
      invisible.length - guard.chunk(Buffer.from(round === 0 ? chatEvent('ja') : invisible)).length
  }
  t.equal(guard.failure?.code, 'POLICY_DENIED')
  t.ok(sent < 4 * 1024 * 1024)
  const args = guardOf(rules)
  const piece = chunk(0, {
    tool_calls: [{ index: 0, function: { arguments: 'a'.repeat(60_000) } }],
  })
  for (let round = 0; round < 100 && args.failure === null; round++) args.chunk(Buffer.from(piece))
  t.equal(args.failure?.code, 'POLICY_DENIED')
  const many = guardOf(rules)
  let texts = 0
  while (many.failure === null && texts < 10_000) {
    many.chunk(Buffer.from(chunk(texts++, { content: 'a' }, 'stop')))
  }
  t.equal(many.failure?.code, 'POLICY_DENIED')
  t.equal(texts, 4097, 'no answer has as many texts')
})

t.test('the longest values hold a stream back only where one may have begun', async (t) => {
  const rules = outputRules(
    t.testdir(),
    `
  - { id: keys, deny: { output: { detect: [private_key, jwt, api_key] } } }`,
  )
  const guard = guardOf(rules)
  const words = 'an ordinary sentence of an answer '.repeat(8)
  t.equal(
    guard.chunk(Buffer.from(chatEvent(words) + chatEvent(words))).toString(),
    chatEvent(words),
  )
  const key = `-----BEGIN PRIVATE KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n'.repeat(20)}`
  const pieces = key.match(/[^]{1,9}/g) ?? []
  const out = through(
    guard,
    pieces.map((each) => chatEvent(each)),
  )
  t.equal(guard.failure?.policy, 'keys')
  t.notMatch(said(out)['0.content'], /BEGIN/)
})
