import { randomUUID } from 'node:crypto'

import type { Principal } from '../exchange.ts'
import type { Tier } from './bucket.ts'
import type { ScriptCall } from './redis-link.ts'
import { type Account, accountText, type KeyNames } from './redis-plan.ts'
import { stateOf } from './redis-states.ts'
import type { CallerTier, LimitStanding } from './standing.ts'

/** What is needed to ask Redis how limits stand. */
export interface StandingParts {
  readonly names: KeyNames
  readonly accounts: ReadonlyMap<Tier, readonly Account[]>
  readonly wallMs: number
  readonly leaseMs: number
  /** Runs the script that reserves. */
  reserve(call: ScriptCall): Promise<unknown>
}

/** Accounts of one hash tag, which one script call may ask about. */
interface Question {
  readonly tag: string
  readonly keys: string[]
  readonly texts: string[]
  readonly asked: { readonly at: CallerTier; readonly account: Account; readonly digest: string }[]
}

/** An account that no call ever fits into: one place of none, asked for by one. */
const FULL = 'slots,0,1,0,0,0,0,0,1'

/**
 * Asks the script that reserves, for nothing, and with one account more that refuses: a refusal charges
 * nothing, and it tells how all accounts stand. One call for each hash tag. Rejects when Redis does not
 * answer.
 */
export async function redisStanding(
  tiers: readonly CallerTier[],
  principal: Principal,
  parts: StandingParts,
): Promise<LimitStanding[]> {
  const questions = new Map<string, Question>()
  for (const at of tiers) {
    const { tag, digest, keys } = parts.names.of(at.tier, principal)
    let question = questions.get(tag)
    if (question === undefined) {
      questions.set(tag, (question = { tag, keys: [], texts: [], asked: [] }))
    }
    question.keys.push(...keys)
    for (const account of parts.accounts.get(at.tier) ?? []) {
      question.texts.push(accountText(account, 0, parts.wallMs))
      question.asked.push({ at, account, digest })
    }
  }
  const answers = await Promise.all([...questions.values()].map((each) => ask(each, parts)))
  return answers.flat()
}

async function ask(question: Question, parts: StandingParts): Promise<LimitStanding[]> {
  const { tag, keys, texts, asked } = question
  const none = `${tag}:none`
  const answer = (await parts.reserve({
    tag,
    keys: [...keys, none, `${none}:h`],
    args: [randomUUID(), parts.leaseMs, 0, ...texts, FULL],
  })) as string
  const figures = answer.split(',').map(Number)
  return asked.map(({ at, account, digest }, index) => {
    const from = 2 + index * 4
    const used = figures[from]! + figures[from + 1]!
    const state = stateOf(account, { used, reset: figures[from + 3]!, digest })
    return { override: at.override, someCalls: at.someCalls, state }
  })
}
