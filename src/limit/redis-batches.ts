import { wallMs } from '../clock.ts'
import type { LimitState, Spent } from '../nouns/lease.ts'
import { amountOf } from './account.ts'
import type { RedisLink } from './redis-link.ts'
import { accountText, type Plan } from './redis-plan.ts'
import { longest, type Standing, stateOf } from './redis-states.ts'
import type { Refusal } from './store.ts'

/** Calls in one command: Redis does nothing else meanwhile, some 0.1 ms for each. */
const CALLS_MAX = 64

/** What one call, or in a cluster the part of it that is on one node, asks for and then holds. */
export interface Part {
  /** Of its lease: no comma, no colon. */
  readonly id: string
  readonly plan: Plan
  /** What it asks of each account. */
  readonly needs: readonly number[]
}

/** How a part stands once Redis has answered at its time `atMs`. */
export interface Answered {
  readonly atMs: number
  readonly states: readonly LimitState[]
  readonly refusal: Refusal | null
}

/** Null when it was too late for Redis to do anything, or it said nothing in time. */
export type OnAnswer = (answer: Answered | null) => void

/** How a part ends: charged with what was spent or, once granted at `undoneMs`, as if it had never been. */
export interface Settlement {
  readonly spent: Spent | null
  /** By the time of Redis; 0 for calls that were made. */
  readonly undoneMs: number
}

type Asked =
  | { readonly part: Part; readonly onAnswer: OnAnswer; readonly settlement?: undefined }
  | { readonly part: Part; readonly settlement: Settlement; readonly onFail: () => void }

/**
 * Everything that is asked of Redis within a turn of the event loop leaves at its end as one command, or
 * one for each tag of a cluster: a command costs far more than what it asks.
 */
export class Batches {
  readonly #link: RedisLink
  readonly #leaseMs: number
  #groups = new Map<string, Asked[]>()
  #turn: NodeJS.Immediate | null = null

  constructor(link: RedisLink, leaseMs: number) {
    this.#link = link
    this.#leaseMs = leaseMs
  }

  /** Checks and charges all accounts of a part, or none; always answers, and within the time of a call. */
  reserve(part: Part, onAnswer: OnAnswer): void {
    this.#add({ part, onAnswer })
  }

  /** Gives back and charges; may be done again, and should be where `onFail` says that nobody answered. */
  settle(part: Part, settlement: Settlement, onFail: () => void): void {
    this.#add({ part, settlement, onFail })
  }

  /** Sends what waits for the end of the turn. */
  flush(): void {
    if (this.#turn !== null) clearImmediate(this.#turn)
    this.#turn = null
    if (this.#groups.size === 0) return
    const groups = this.#groups
    this.#groups = new Map()
    for (const [tag, asked] of groups) this.#send(tag, asked)
  }

  #add(asked: Asked): void {
    const tag = this.#link.splits ? asked.part.plan.tag : ''
    const group = this.#groups.get(tag)
    if (group === undefined) this.#groups.set(tag, [asked])
    else if (group.push(asked) >= CALLS_MAX) {
      this.#groups.delete(tag)
      this.#send(tag, group)
    }
    this.#turn ??= setImmediate(() => this.flush())
  }

  #send(tag: string, asked: readonly Asked[]): void {
    const { keys, plans, calls } = written(asked)
    const args = [`${this.#leaseMs},${this.#link.deadlineMs}`, plans, calls]
    this.#link.run('CALLS', { tag, keys, args, askers: asked.length }).then(
      (answer) => this.#answer(asked, new Figures(answer as string)),
      () => fail(asked),
    )
  }

  #answer(asked: readonly Asked[], figures: Figures): void {
    const atMs = figures.next()
    let isLate = false
    for (const each of asked) {
      if (each.settlement !== undefined) continue
      const outcome = figures.next()
      isLate ||= outcome === -1
      each.onAnswer(outcome < 0 ? null : answered(each.part, figures, { atMs, outcome }))
    }
    if (isLate) this.#link.late(atMs)
    else this.#link.answered(atMs)
  }
}

function fail(asked: readonly Asked[]): void {
  for (const each of asked) {
    if (each.settlement === undefined) each.onAnswer(null)
    else each.onFail()
  }
}

/** Keys, plans and calls as the script CALLS takes them. */
function written(asked: readonly Asked[]) {
  const keys: string[] = []
  const places = new Map<Plan, number>()
  const nowMs = wallMs()
  let plans = ''
  let calls = ''
  for (const each of asked) {
    const { plan } = each.part
    let place = places.get(plan)
    if (place === undefined) {
      places.set(plan, (place = places.size + 1))
      plans += keys.length + 1
      for (const account of plan.accounts) plans += `;${accountText(account, nowMs)}`
      plans += '\n'
      keys.push(...plan.keys)
    }
    calls +=
      each.settlement === undefined
        ? `r,${place},${each.part.id}${needsText(each.part)}\n`
        : `s,${place},${each.part.id},${settlementText(each.part, each.settlement, keys)}\n`
  }
  return { keys, plans, calls }
}

function needsText({ plan, needs }: Part): string {
  if (plan.needs !== null) return ''
  let text = ''
  for (const [index, { kind }] of plan.accounts.entries()) {
    if (kind === 'spend') text += `,${needs[index]}`
  }
  return text
}

/** Only what is charged needs a mark: to give back places twice is to give them back once. */
function settlementText(part: Part, { spent, undoneMs }: Settlement, keys: string[]): string {
  const { id, plan, needs } = part
  if (plan.needs !== null && undoneMs === 0) return '0,0'
  let text = `${undoneMs},${keys.push(`${plan.tag}:lease:${id}`)}`
  for (const [index, { kind, what }] of plan.accounts.entries()) {
    if (kind !== 'spend') continue
    const used = what === 'tokens' || what === 'cost' ? amountOf(what, spent) : 0
    text += `,${needs[index]},${used}`
  }
  return text
}

function answered(
  { plan, needs }: Part,
  figures: Figures,
  { atMs, outcome }: { readonly atMs: number; readonly outcome: number },
): Answered {
  const states: LimitState[] = []
  const standings: Standing[] | null = outcome === 1 ? [] : null
  for (let index = 0; index < plan.accounts.length; index++) {
    const account = plan.accounts[index]!
    const [used, wait, reset] = [figures.next(), figures.next(), figures.next()]
    const state = stateOf(account, { used, reset, digest: plan.digests[index]! })
    standings?.push({ state, wait, account })
    const isSet = standings === null && account.kind === 'spend'
    states.push(isSet ? { ...state, reserved: needs[index]! } : state)
  }
  return { atMs, states, refusal: standings && longest(standings) }
}

const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39

/** Whole numbers with one character between them, read one by one. */
class Figures {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** 0 when there are no more. */
  next(): number {
    const text = this.#text
    const isNegative = text.charCodeAt(this.#at) === MINUS
    if (isNegative) this.#at++
    let figure = 0
    for (; this.#at < text.length; this.#at++) {
      const code = text.charCodeAt(this.#at)
      if (code < ZERO || code > NINE) break
      figure = figure * 10 + code - ZERO
    }
    this.#at++
    return isNegative ? -figure : figure
  }
}
