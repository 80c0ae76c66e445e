import { type Operation, type Parameter, PARAMETERS } from '../exchange.ts'
import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import type { FileValue } from './resolve.ts'
import type { Selectors, SettingConfig } from './snapshot.ts'

type SetValue = NonNullable<FileValue['policies'][number]['set']>

const SAMPLED: readonly Operation[] = ['chat', 'completions', 'assistants']
const ANSWERED: readonly Operation[] = ['chat', 'completions']

/** Operations of which an endpoint has the parameter. */
const TAKEN_BY: Readonly<Record<Parameter, readonly Operation[]>> = {
  max_output_tokens: SAMPLED,
  n: ANSWERED,
  temperature: SAMPLED,
  top_p: SAMPLED,
  presence_penalty: ANSWERED,
  frequency_penalty: ANSWERED,
  reasoning_effort: ['chat', 'assistants'],
  service_tier: ['chat'],
}

/** Every parameter says something that can be, of calls that can have it. `at` is the path of `set`. */
export function resolveSet(
  own: SetValue | null,
  { report, at }: { readonly report: Report; readonly at: Path },
  about: Selectors | null,
): readonly SettingConfig[] {
  const settings = PARAMETERS.flatMap((parameter) => {
    const given = own?.[parameter] ?? null
    return given === null ? [] : [settingOf(parameter, given)]
  })
  report.check(at, settings.length > 0, 'Nothing is set: give it a parameter')
  for (const setting of settings) {
    const here = [...at, setting.parameter]
    checkBounds(setting, report, here)
    const takers = TAKEN_BY[setting.parameter]
    const applies = about?.operations?.some((each) => takers.includes(each)) ?? true
    const message = `No operation of \`for\` has it: it is for ${takers.join(', ')}`
    report.check(here, applies, message)
  }
  return settings
}

function settingOf(parameter: Parameter, given: NonNullable<SetValue[Parameter]>): SettingConfig {
  const nothing = { parameter, value: null, default: null, atMost: null, atLeast: null }
  if (typeof given !== 'object') return { ...nothing, value: given }
  if (!('at_most' in given)) return { ...nothing, default: given.default }
  const { at_most: atMost, at_least: atLeast } = given
  return { ...nothing, default: given.default, atMost, atLeast }
}

function checkBounds(setting: SettingConfig, report: Report, at: Path): void {
  const { value, default: initial, atMost, atLeast } = setting
  const says = [value, initial, atMost, atLeast].some((each) => each !== null)
  report.check(at, says, 'Nothing is set: give it a value, or default, at_most or at_least')
  const most = atMost ?? Infinity
  const least = atLeast ?? -Infinity
  report.check([...at, 'at_least'], least <= most, `More than at_most, ${atMost}`)
  const within = typeof initial !== 'number' || (initial >= least && initial <= most)
  report.check([...at, 'default'], within, 'Not within at_least and at_most')
}
