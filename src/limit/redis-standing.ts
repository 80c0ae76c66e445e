import type { Principal } from '../exchange.ts'
import { bucketDigest, type Tier } from './bucket.ts'
import type { Answered, Batches, Part } from './redis-batches.ts'
import { type Account, type Named, planOf, tagOf } from './redis-plan.ts'
import type { CallerTier, LimitStanding } from './standing.ts'

/** What is needed to ask Redis how limits stand. */
export interface StandingParts {
  readonly accounts: ReadonlyMap<Tier, readonly Account[]>
  /** Of a lease that nobody is given. */
  readonly id: string
  readonly batches: Batches
}

/** Accounts of one hash tag, which one script call may ask about. */
interface Question {
  readonly named: Named[]
  readonly asked: CallerTier[]
}

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
    const digest = bucketDigest(at.tier, principal)
    const tag = tagOf(at.tier, principal, digest)
    const question = questions.get(tag) ?? { named: [], asked: [] }
    questions.set(tag, question)
    for (const account of parts.accounts.get(at.tier) ?? []) {
      question.named.push({ account, digest, tag })
      question.asked.push(at)
    }
  }
  const all = [...questions.values()].filter(({ asked }) => asked.length > 0)
  const answers = await Promise.all(all.map((each) => ask(each, parts)))
  return answers.flat()
}

async function ask({ named, asked }: Question, parts: StandingParts): Promise<LimitStanding[]> {
  const plan = planOf([...named, fullBeside(named[0]!)])
  const needs = plan.accounts.map(({ kind }) => (kind === 'spend' ? 0 : 1))
  const part: Part = { id: parts.id, plan, needs }
  const answer = await new Promise<Answered | null>((resolve) => {
    parts.batches.reserve(part, resolve)
  })
  if (answer === null) throw new Error('Redis did not answer')
  return asked.map(({ override, someCalls }, index) => {
    return { override, someCalls, state: answer.states[index]! }
  })
}

/** An account that no call ever fits into: no place at all. */
function fullBeside({ account, tag }: Named): Named {
  const fixed = 'slots,0,1,0'
  const full: Account = { ...account, kind: 'slots', what: 'concurrent', limit: 0, fixed }
  const none = { suffix: 'none', calendar: null, periodsText: '0,0,0,0' } as const
  return { account: { ...full, ...none }, digest: 'none', tag }
}
