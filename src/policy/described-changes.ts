import type { DescribedRequest, SettingConfig } from '../config/snapshot.ts'
import type { Decision, Parameter } from '../exchange.ts'
import { inTurns } from '../turns.ts'
import type { CompiledPolicies } from './compile.ts'
import { planRedaction } from './redact.ts'
import { combineSettings, settle } from './settle.ts'

/** What a described call would go on with; null where nothing of it is changed. */
export interface DescribedChanges {
  /** Its input with placeholders. */
  readonly redacted: readonly string[] | null
  /** Parameters that are put or clamped; of those sent, a description knows the output cap only. */
  readonly set: ReadonlyMap<Parameter, number | string> | null
}

const NOTHING: DescribedChanges = { redacted: null, set: null }

/** What the policies that matched make of a described call. Never rejects but for texts beyond measure. */
export async function describedChanges(
  compiled: CompiledPolicies,
  { effect, policies }: Decision,
  request: DescribedRequest,
): Promise<DescribedChanges> {
  const changing = policies.filter(({ mode }) => mode === 'enforce')
  const idsOf = (result: string) =>
    new Set(changing.filter((each) => each.result === result).map(({ id }) => id))
  if (effect === 'deny') return NOTHING
  const [masks, sets] = [idsOf('redacted'), idsOf('set')]
  const settings = compiled.policies.filter(({ id }) => sets.has(id))
  return {
    redacted: masks.size === 0 ? null : await masked(compiled, masks, request.input),
    set: settled(
      settings.flatMap((policy) => policy.settings),
      request,
    ),
  }
}

async function masked(
  compiled: CompiledPolicies,
  ids: ReadonlySet<string>,
  input: readonly string[],
): Promise<readonly string[] | null> {
  const policies = compiled.policies.filter(({ id }) => ids.has(id))
  const texts = { values: input, pointer: (index: number) => `/input/${index}` }
  const plan = await inTurns(planRedaction(compiled, policies, { texts, cut: 'inner' }))
  if (plan === null) return null
  const byText = Map.groupBy(plan.edits, ({ index }) => index)
  return input.map((text, index) => {
    const parts: string[] = []
    let from = 0
    for (const { start, end, text: put } of byText.get(index) ?? []) {
      parts.push(text.slice(from, start), put)
      from = end
    }
    return parts.join('') + text.slice(from)
  })
}

function settled(
  settings: readonly SettingConfig[],
  { maxOutputTokens }: DescribedRequest,
): DescribedChanges['set'] {
  const set = new Map<Parameter, number | string>()
  for (const [parameter, setting] of combineSettings(settings)) {
    const sent = parameter === 'max_output_tokens' ? maxOutputTokens : null
    const value = settle(setting, sent)
    if (value !== null && value !== sent) set.set(parameter, value)
  }
  return set.size === 0 ? null : set
}
