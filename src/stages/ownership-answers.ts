import { collected, type EventWatch, HeldAnswer, withBody } from '../answers/held.ts'
import { type Json, parseObject } from '../dialect/answer-json.ts'
import {
  createdIn,
  type Created,
  firstId,
  madeIn,
  outputsIn,
  tunedId,
  tunedIn,
} from '../dialect/created.ts'
import { readModelList } from '../dialect/model-list.ts'
import { eventParts } from '../dialect/sse.ts'
import { readStoredPage, type StoredPage } from '../dialect/stored-list.ts'
import { GovernorError } from '../errors.ts'
import type { Trail } from '../exchange.ts'
import { inTurns } from '../turns.ts'
import type { Answer } from '../upstream/call.ts'
import { listsModels } from './list-models.ts'
import { keepsOnlyMade, listsStored } from './ownership-calls.ts'
import { counted } from './ownership-charges.ts'
import { claimedResults, resultsOf } from './ownership-results.ts'
import type { Ownership } from './ownership.ts'

/** What tenants keep at a provider, kept apart: what an answer may show, and whose it becomes. */

/** The longest answer that is read for ids, bytes; images come in them. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024
/** Pages of a list that are looked through for one of the caller's. */
const PAGES_MAX = 32
/** Endpoints whose answers name what came of a thing later. */
const LATER: ReadonlySet<string> = new Set([
  'batches.cancel',
  'batches.get',
  'fine_tuning.checkpoints',
  'fine_tuning.get',
  'responses.get',
])
/** Words of events that may hold an id that was not there before. */
const NEWS = [
  'container_id',
  '"container"',
  'file_id',
  '"audio"',
  'response.completed',
  'response.incomplete',
  '.created"',
]

/** Asks for another page of the same list. */
export type NextPage = (path: string) => Promise<Answer>

/**
 * The answer as its caller may have it: of a list only its own things, of what it created nothing before
 * that is written down. Rejects with OWNERSHIP_UNAVAILABLE, and UPSTREAM_FAILED for what cannot be read.
 */
export async function ownedAnswer(
  ownership: Ownership,
  answer: Answer,
  trail: Trail,
  next: NextPage,
): Promise<Answer> {
  if (ownership.store === null || answer.status < 200 || answer.status > 299) return answer
  try {
    if (listsModels(trail.route!)) return await withoutOthers(ownership, answer, trail)
    if (listsStored(trail)) return await ownPage(ownership, answer, trail, next)
    if (ownership.creates(trail)) return await claimed(ownership, answer, trail)
    return trail.owned === null ? answer : await ofOwned(ownership, answer, trail)
  } catch (error) {
    answer.abort()
    throw error
  }
}

/** The answer to a call about a thing of the tenant. */
async function ofOwned(ownership: Ownership, answer: Answer, trail: Trail): Promise<Answer> {
  const { api, operation } = trail.route!.endpoint
  if (LATER.has(api) && !isEvents(answer)) return learned(ownership, answer, trail)
  if (operation.endsWith('.read')) {
    return counted(await claimedResults(ownership, answer, trail), trail)
  }
  return operation.endsWith('.delete') ? forgotten(ownership, answer, trail) : answer
}

function isEvents({ headers }: Answer): boolean {
  return typeOf(headers).startsWith('text/event-stream')
}

/** What a server says, whatever was asked for: some answer a call for a stream with all of it at once. */
function isObject({ headers }: Answer): boolean {
  return /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/.test(typeOf(headers))
}

function typeOf(headers: Answer['headers']): string {
  return String(headers['content-type'] ?? '').toLowerCase()
}

// --- what is new ---

async function claimed(ownership: Ownership, answer: Answer, trail: Trail): Promise<Answer> {
  const claims = new Claims(ownership, trail)
  if (isEvents(answer) || (answer.whole === null && trail.going.stream && !isObject(answer))) {
    const held = new HeldAnswer(answer, claims)
    await held.begun
    return held
  }
  const whole = await collected(answer, ANSWER_BYTES_MAX)
  const object = parseObject(whole.whole!.toString('utf8'))
  // What cannot be read here may be read by the caller.
  if (object === null && whole.whole!.length > 0) throw unreadable()
  if (object !== null) await claims.whole(object)
  return whole
}

async function learned(ownership: Ownership, answer: Answer, trail: Trail): Promise<Answer> {
  const whole = await collected(answer, ANSWER_BYTES_MAX)
  const object = parseObject(whole.whole!.toString('utf8'))
  if (object === null) throw unreadable()
  // Where the job itself does not say what it took, its files do.
  const isUncharged = trail.owned!.isAwaited && object['usage'] == null
  const ids = idsOf(madeIn(object)).filter((id) => !trail.route!.ids!.includes(id))
  await ownership.claim(trail, besides(object, trail), false)
  await ownership.claim(trail, ids, isUncharged)
  return whole
}

/** What is remembered of a batch's files, and models that a job made. */
function besides(answer: Json, { route }: Trail): string[] {
  const { api } = route!.endpoint
  if (api.startsWith('batches.')) return outputsIn(answer).map(resultsOf)
  return api.startsWith('fine_tuning.') ? tunedIn(answer) : []
}

/** Writes down what answers and events name, each id once. */
class Claims implements EventWatch {
  readonly #ownership: Ownership
  readonly #trail: Trail
  readonly #known: Set<string>
  /** What an answer or an event of it names. */
  readonly #read: (answer: Json) => Created[]
  /** The stream has said what it is, or is nothing that can be named. */
  #isNamed: boolean

  constructor(ownership: Ownership, trail: Trail) {
    this.#ownership = ownership
    this.#trail = trail
    const named = trail.owned?.references.named ?? []
    this.#known = new Set([...(trail.route!.ids ?? []), ...named.map(({ id }) => id)])
    this.#isNamed = keepsOnlyMade(trail)
    this.#read = this.#isNamed ? madeIn : createdIn
  }

  async whole(answer: Json): Promise<void> {
    await this.#ownership.claim(this.#trail, besides(answer, this.#trail), false)
    await this.claim(this.#read(answer))
  }

  async claim(created: readonly Created[]): Promise<void> {
    const fresh = created.filter(({ id }) => !this.#known.has(id))
    for (const { id } of fresh) this.#known.add(id)
    const awaited = fresh.filter(({ isItself }) => isItself && isAwaited(this.#trail))
    const rest = fresh.filter((each) => !awaited.includes(each))
    await this.#ownership.claim(this.#trail, idsOf(awaited), true)
    await this.#ownership.claim(this.#trail, idsOf(rest), false)
  }

  event(bytes: Buffer): Promise<void> | null {
    if (this.#isNamed && !NEWS.some((word) => bytes.includes(word))) return null
    const { data } = eventParts(bytes)
    // Without any line of data it may be an object that nobody called one.
    const object = parseObject((data.length === 0 ? bytes : data).toString('utf8'))
    if (object === null) return null
    const created = this.#read(object).filter(({ id }) => !this.#known.has(id))
    if (created.length === 0) return null
    this.#isNamed = true
    return this.claim(created)
  }

  start(bytes: Buffer): Promise<void> | null {
    if (this.#isNamed) return null
    const id = firstId(bytes.toString('latin1'))
    if (id === null) throw unreadable()
    this.#isNamed = true
    return this.claim([{ id, isItself: true }])
  }
}

/** Whether the result of what is created comes later; one that is streamed is charged as it comes. */
function isAwaited({ route, owned, going }: Trail): boolean {
  if (route!.endpoint.operation === 'batches') return true
  return owned?.references.isBackground === true && !going.stream
}

function idsOf(created: readonly Created[]): string[] {
  return created.map(({ id }) => id)
}

/** What is gone at the provider is nobody's; what it says it has kept, all the same, stays the tenant's. */
async function forgotten({ store }: Ownership, answer: Answer, trail: Trail): Promise<Answer> {
  const [id, below] = trail.route!.ids ?? []
  if (store === null || id === undefined || below !== undefined) return answer
  const whole = await collected(answer, ANSWER_BYTES_MAX)
  if (parseObject(whole.whole!.toString('utf8'))?.['deleted'] === false) return whole
  // A record too many harms nobody.
  await store.forget(id, trail.principal!.tenant).catch(() => {})
  return whole
}

function unreadable(): GovernorError {
  return new GovernorError('UPSTREAM_FAILED', {
    detail: 'its answer cannot be read for what it keeps',
  })
}

// --- lists ---

/** The models that nobody else had made for himself. One that cannot be read is refused where it is cut down. */
async function withoutOthers(ownership: Ownership, answer: Answer, trail: Trail): Promise<Answer> {
  if (answer.whole === null) return answer
  const list = await inTurns(readModelList(answer.whole)).catch(() => null)
  if (list === null) return answer
  const ids = list.models.map(tunedId)
  const tuned = [...new Set(ids.filter((id) => id !== null))]
  const others = await ownership.others(tuned, trail.principal!.tenant)
  if (others.size === 0) return answer
  return withBody(answer, list.cut(ids.map((id) => id === null || !others.has(id))))
}

/** The first page that holds anything of the caller's, cut down to that; or the last one. */
async function ownPage(
  ownership: Ownership,
  first: Answer,
  trail: Trail,
  next: NextPage,
): Promise<Answer> {
  const { tenant } = trail.principal!
  let answer = first
  let { path } = trail.route!
  for (let count = 1; ; count++) {
    const whole = await collected(answer, ANSWER_BYTES_MAX)
    const page = await readPage(whole)
    const own = await ownership.own(page.ids, tenant)
    const kept = page.ids.map((id) => own.has(id))
    const following = kept.includes(true) || !page.hasMore ? null : nextPath(path, page)
    if (following === null) return withBody(whole, page.cut(kept))
    if (count === PAGES_MAX) throw tooFar()
    path = following
    answer = await next(path)
    if (answer.status !== 200) return answer
  }
}

async function readPage(answer: Answer): Promise<StoredPage> {
  try {
    const page = await inTurns(readStoredPage(answer.whole!))
    if (page !== null) return page
  } catch (error) {
    if (!(error instanceof GovernorError)) throw error
  }
  throw unreadable()
}

/** The path of the page after (or, where the caller goes back, before) this one; null where there is none. */
function nextPath(path: string, { ids }: StoredPage): string | null {
  const [plain = '', query = ''] = path.split('?')
  const parameters = new URLSearchParams(query)
  const style = parameters.has('after_id') || parameters.has('before_id') ? '_id' : ''
  const isBack = parameters.has(`before${style}`)
  const id = isBack ? ids[0] : ids.at(-1)
  if (id === undefined || id === '') return null
  parameters.set(isBack ? `before${style}` : `after${style}`, id)
  return `${plain}?${parameters.toString()}`
}

function tooFar(): GovernorError {
  return new GovernorError('UPSTREAM_FAILED', {
    detail: `nothing of yours is on the first ${PAGES_MAX} pages of this list`,
    hint: 'Ask for larger pages with `limit`, or for what you want by its id.',
  })
}
