import { contentText, countTokens, type EchoBody, type Pieces, words } from './echo-text.ts'

/** A legacy completion that says `echo: ` and the prompt. */
export function completionAnswer(body: EchoBody, id: string): object {
  const text = `echo: ${promptOf(body)}`
  return {
    ...completionHead(body, id),
    choices: [{ index: 0, text, logprobs: null, finish_reason: 'stop' }],
    usage: completionUsage(body, text),
  }
}

/** The same, one word a chunk. */
export function completionStream(body: EchoBody, id: string): Pieces {
  const text = `echo: ${promptOf(body)}`
  const options = body['stream_options'] as { include_usage?: unknown } | null | undefined
  const head = completionHead(body, id)
  const chunks: object[] = words(text).map((word) => ({
    ...head,
    choices: [{ index: 0, text: word, logprobs: null, finish_reason: null }],
  }))
  chunks.push({ ...head, choices: [{ index: 0, text: '', logprobs: null, finish_reason: 'stop' }] })
  if (options?.include_usage === true) {
    chunks.push({ ...head, choices: [], usage: completionUsage(body, text) })
  }
  return [...chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`), 'data: [DONE]\n\n']
}

function promptOf({ prompt }: EchoBody): string {
  return Array.isArray(prompt) ? prompt.map(String).join(' ') : contentText(prompt)
}

function completionHead(body: EchoBody, id: string): object {
  return { id: `cmpl-${id}`, object: 'text_completion', created: 0, model: body['model'] }
}

function completionUsage(body: EchoBody, text: string): object {
  const prompt = countTokens(promptOf(body))
  const completion = countTokens(text)
  const total = prompt + completion
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: total }
}

/** Nothing is ever flagged here. */
export function moderationAnswer(body: EchoBody, id: string): object {
  const inputs = Array.isArray(body['input']) ? body['input'] : [body['input']]
  const result = { flagged: false, categories: {}, category_scores: {} }
  return {
    id: `modr-${id}`,
    model: body['model'] ?? 'omni-moderation-latest',
    results: inputs.map(() => result),
  }
}

/** One white pixel, as PNG. */
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=='

/** One pixel, whatever was asked for. */
export function imageAnswer(body: EchoBody): object {
  return { created: 0, data: [{ b64_json: PIXEL }], usage: imageUsage(body) }
}

/** The same as the one event of a stream; `kind` is `generation` or `edit`. */
export function imageStream(body: EchoBody, kind: string): Pieces {
  const type = `image_${kind}.completed`
  const data = { type, b64_json: PIXEL, created_at: 0, usage: imageUsage(body) }
  return [`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`]
}

function imageUsage(body: EchoBody): object {
  const input = countTokens(contentText(body['prompt']))
  return { input_tokens: input, output_tokens: 1, total_tokens: input + 1 }
}

/** What was to be said, as bytes of a made-up sound. */
export function speechAnswer(body: EchoBody): Buffer {
  return Buffer.from(`echo: ${contentText(body['input'])}`, 'utf16le')
}

/** The same in an event stream. */
export function speechStream(body: EchoBody): Pieces {
  const input = countTokens(contentText(body['input']))
  const usage = { input_tokens: input, output_tokens: 1, total_tokens: input + 1 }
  const events = [
    { type: 'speech.audio.delta', audio: speechAnswer(body).toString('base64') },
    { type: 'speech.audio.done', usage },
  ]
  return events.map((event) => `data: ${JSON.stringify(event)}\n\n`)
}

/** Yes to every question: the first choice, the first level. */
export function decisionAnswer(body: EchoBody): object {
  const questions = Array.isArray(body['questions']) ? (body['questions'] as EchoBody[]) : []
  const input = countTokens(JSON.stringify(body['input'] ?? ''))
  return {
    model: body['model'],
    answers: questions.map(({ name = null }) => ({ type: 'predicate', name, probability: 1 })),
    usage: { input_tokens: input, output_tokens: 1, total_tokens: input + 1 },
  }
}

/** Documents in the order they came in, the first the best. */
export function rerankAnswer(body: EchoBody, id: string): object {
  const documents = Array.isArray(body['documents']) ? (body['documents'] as unknown[]) : []
  const results = documents.map((_, index) => ({ index, relevance_score: 1 / (index + 1) }))
  return { id: `rerank-${id}`, model: body['model'], results }
}

/** An agent's run, whole or as events. */
export function runAnswer(body: EchoBody, id: string): object {
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
  const model = body['model'] ?? null
  return { id: `run_${id}`, object: 'thread.run', status: 'completed', model, usage }
}

/** The run as the last events of its stream. */
export function runStream(body: EchoBody, id: string): Pieces {
  const data = JSON.stringify(runAnswer(body, id))
  return [`event: thread.run.completed\ndata: ${data}\n\n`, 'event: done\ndata: [DONE]\n\n']
}

/** What a store says: nothing is kept, so lists are empty and objects have only an id. */
export function storedAnswer(method: string, path: string, id: string): object {
  const last = path.slice(path.lastIndexOf('/') + 1)
  if (method === 'DELETE') return { id: last, object: 'deleted', deleted: true }
  if (method === 'POST') return { id: `obj_${id}`, object: 'echo', created_at: 0 }
  return { object: 'list', data: [], has_more: false }
}
