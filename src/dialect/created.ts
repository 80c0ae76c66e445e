/**
 * Ids in answers: what a call created, and what became of a thing that is kept. Only places that the
 * provider fills are looked at: what it hands back of a request (metadata, tools) may say anything.
 */
import { hash } from 'node:crypto'

import { asObject, type Json } from './answer-json.ts'

/** An id of an answer. */
export interface Created {
  readonly id: string
  /** What the thing itself is called, as against something it made. */
  readonly isItself: boolean
}

/** Ids as providers give them out. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,255}$/
/** Members of a job that name what came of it. */
const MADE = ['error_file_id', 'output_file_id']
/** More in one answer than any provider makes. */
const CREATED_MAX = 4096

function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value)
}

/** A handle may be of any length and hold any character: what it is known by. */
export function handleId(handle: string): string {
  return `handle_${hash('sha256', handle)}`
}

/** The handle by which what is said in a live session can be gone on from later; null where none is told. */
export function resumedBy(message: Json): string | null {
  const handle = asObject(message['sessionResumptionUpdate'])?.['newHandle']
  return typeof handle === 'string' && handle !== '' ? handle : null
}

/**
 * What a whole answer, or an event of a stream, says was created: its own `id`, that of the `response` or
 * `thread` it is about, of items it holds, and what was made for it. Ids in a list are no news: callers
 * do not ask this of lists.
 */
export function createdIn(answer: Json): Created[] {
  const thing = asObject(answer['response']) ?? answer
  // A response that is not kept cannot be named again.
  if (thing['store'] === false) return madeIn(answer)
  const found: Created[] = []
  if (isId(thing['id'])) found.push({ id: thing['id'], isItself: true })
  for (const item of itemsOf(answer)) add(found, item['id'])
  add(found, answer['thread_id'])
  return unique([...found, ...madeIn(answer)])
}

/**
 * What came of a thing: files that a job wrote, containers that a response ran in and files in them, and
 * what was spoken. In whole answers and in events of streams, of all dialects.
 */
export function madeIn(answer: Json): Created[] {
  const found: Created[] = []
  addRun(found, answer)
  addSpoken(found, answer)
  addCited(found, answer['annotation'])
  for (const name of MADE) add(found, answer[name])
  for (const id of listOf(answer['result_files'])) add(found, id)
  for (const item of itemsOf(answer)) {
    if (item['type'] === 'code_interpreter_call') add(found, item['container_id'])
    for (const part of listOf(item['content'])) {
      for (const note of listOf(asObject(part)?.['annotations'])) addCited(found, note)
    }
  }
  return unique(found)
}

/**
 * What a line of a batch's results says was created: a response that is kept, and what tools made, of
 * OpenAI's form (`response.body`) and of Anthropic's (`result.message`).
 */
export function createdInLine(line: Json): Created[] {
  const body = asObject(asObject(line['response'])?.['body'])
  if (body !== null) {
    const isKept = body['object'] === 'response' || body['store'] === true
    return isKept ? createdIn(body) : madeIn(body)
  }
  const message = asObject(asObject(line['result'])?.['message'])
  return message === null ? [] : madeIn(message)
}

/** The response at the start of such a line that is too long to be held; null where there is none. */
export function firstInLine(start: string): string | null {
  const found = /"body":\s*\{\s*"id":\s*"(resp_[A-Za-z0-9_-]{1,250})"/.exec(start.slice(0, 4096))
  return found?.[1] ?? null
}

/** Files of a batch that hold what it was answered. */
export function outputsIn(batch: Json): string[] {
  return MADE.map((name) => batch[name]).filter(isId)
}

/** Members of a fine-tuning job, and of its checkpoints, that name a model. */
const TUNED_MEMBERS = ['fine_tuned_model', 'fine_tuned_model_checkpoint']
/** `ft:gpt-4o:org:name:id`, the older `davinci:ft-org-date`, and Azure's `gpt-4o.ft-id`. */
const TUNED = /^(?:ft:|[a-z0-9.-]+[:.]ft-)[a-z0-9_.:-]{1,240}$/

/**
 * What a model that was made for somebody is known by, in whichever spelling a call names it: in lower
 * case, without a `provider/` before it and without its checkpoint. Null for everybody's models.
 */
export function tunedId(model: string): string | null {
  const name = model.slice(model.lastIndexOf('/') + 1).toLowerCase()
  const base = name.replace(/:ckpt-step-\d{1,9}$/, '')
  return TUNED.test(base) ? base : null
}

/** Models that a fine-tuning job made, from what is said of it or of its checkpoints. */
export function tunedIn(answer: Json): string[] {
  const found = new Set<string>()
  for (const each of [answer, ...listOf(answer['data'])]) {
    for (const name of TUNED_MEMBERS) {
      const model = asObject(each)?.[name]
      const id = typeof model === 'string' ? tunedId(model) : null
      if (id !== null) found.add(id)
    }
  }
  return [...found]
}

function addCited(found: Created[], note: unknown): void {
  const cited = asObject(note)
  if (cited?.['type'] !== 'container_file_citation') return
  add(found, cited['container_id'])
  add(found, cited['file_id'])
}

/** What a tool that runs programs returned; its parts name the files it wrote. */
const RAN = /^(?:bash_|text_editor_)?code_execution_tool_result$/

/** Anthropic's messages: the container that programs ran in, and the files they wrote. */
function addRun(found: Created[], answer: Json): void {
  for (const about of [answer, asObject(answer['message']), asObject(answer['delta'])]) {
    add(found, asObject(about?.['container'])?.['id'])
  }
  const blocks = asObject(answer['message'])?.['content'] ?? answer['content']
  for (const each of [...listOf(blocks), answer['content_block']]) {
    const block = asObject(each)
    if (block === null || !RAN.test(String(block['type']))) continue
    const parts = asObject(block['content'])?.['content']
    for (const part of listOf(parts)) add(found, asObject(part)?.['file_id'])
  }
}

/** Chat completions: what was spoken can be named in the next call. */
function addSpoken(found: Created[], answer: Json): void {
  for (const each of listOf(answer['choices'])) {
    const choice = asObject(each)
    for (const said of [choice?.['message'], choice?.['delta']]) {
      add(found, asObject(asObject(said)?.['audio'])?.['id'])
    }
  }
}

function add(found: Created[], id: unknown): void {
  if (isId(id)) found.push({ id, isItself: false })
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value.slice(0, CREATED_MAX) : []
}

/** Items of a response, whole or as they come. */
function itemsOf(answer: Json): Json[] {
  const thing = asObject(answer['response']) ?? answer
  const all = [...listOf(thing['output']), answer['item']]
  return all.flatMap((each): Json[] => {
    const item = asObject(each)
    return item === null ? [] : [item]
  })
}

function unique(found: readonly Created[]): Created[] {
  const byId = new Map<string, Created>()
  for (const each of found) if (!byId.has(each.id)) byId.set(each.id, each)
  return [...byId.values()].slice(0, CREATED_MAX)
}

/** The id at the start of an event that is too long to be held, where it stands first. */
export function firstId(start: string): string | null {
  const found = /"id":\s*"([A-Za-z0-9][A-Za-z0-9_-]{0,255})"/.exec(start.slice(0, 4096))
  return found?.[1] ?? null
}
