import { AnswerGuard } from '../../src/answers/guard.ts'
import { openai } from '../../src/dialect/openai.ts'
import type { Dialect } from '../../src/exchange.ts'
import { AnswerInspector } from '../../src/policy/answer-inspector.ts'
import { compilePolicies } from '../../src/policy/compile.ts'
import { AnswerPlaceholders } from '../../src/policy/placeholders.ts'
import { configText, InProcess } from './start-governor.ts'

/** The policies of a file, as text, ready to look at answers. */
export function outputRules(directory: string, policies: string, sections = {}) {
  const text = configText({ policies, ...sections })
  const snapshot = new InProcess(directory, text).load()
  const { output } = compilePolicies(snapshot)
  if (output === null) throw new Error('no policy looks at answers')
  return output
}

/** A fresh guard over every policy of `rules`. */
export function guardOf(
  rules: ReturnType<typeof outputRules>,
  { api = 'chat.completions', dialect = openai }: { api?: string; dialect?: Dialect } = {},
): AnswerGuard {
  const ids = [...rules.policies.keys()]
  return new AnswerGuard({
    inspector: new AnswerInspector(rules, ids, new AnswerPlaceholders()),
    reader: dialect.answers,
    api,
    jsonDepth: 64,
    uninspectable: 'deny',
  })
}

/** What comes out when the pieces go in; ends with what the guard said against it. */
export function through(guard: AnswerGuard, pieces: readonly (string | Buffer)[]): string {
  const out: string[] = []
  for (const piece of pieces) {
    out.push(guard.chunk(Buffer.from(piece)).toString())
    if (guard.failure !== null) break
  }
  if (guard.failure === null) out.push(guard.flush().toString())
  return out.join('')
}
